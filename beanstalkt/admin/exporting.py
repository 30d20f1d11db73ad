"""Exporting: the jobs of a server as JSON lines, from which they can be imported again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from ..client.client import Client
from .change import count
from .listing import list_jobs
from .portable import encode
from .progress import OnProgress, Summary
from .scan import Scan
from .selection import Selection
from .several import Clients, prepare


async def export_jobs(
    client: Client | Clients,
    selection: Selection,
    *,
    limit: int | None = None,
    summary: Summary | None = None,
    progress: OnProgress | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON line of each job of a selection, with its line end, in the order of the ids.

    No job is moved or reserved. A line has the id, tube, state, priority, ttr and body of the job
    and what is left of its delay; `import_jobs` makes a job of it again. A job of any state is
    exported unless the selection says otherwise. Jobs that are put meanwhile are not.

    :param client: or clients by the names of their servers, as `pool.clients`; then each line has
        the name of its server, and the jobs come one server after another
    :param limit: the number of jobs after which it ends; None: no limit
    :param summary: is filled in as the export goes on
    :param progress: called some times a second

    Raises ConnectionLost.
    """
    summary = Summary() if summary is None else summary
    summary.action = "exported"
    if isinstance(client, Mapping):
        prepare(summary, "exported", client)
    scan = list_jobs(client, selection, bodies=True, limit=limit, progress=progress)
    try:
        async for record in scan:
            count(summary.servers.get(record.server or "", summary), record)
            yield encode(record)
    finally:
        if isinstance(scan, Scan):
            _note_end(summary, scan)
        else:
            for name, each in scan.scans.items():
                _note_end(summary.servers[name], each)
        summary.add_up()


def _note_end(summary: Summary, scan: Scan) -> None:
    summary.vanished = scan.vanished
    summary.notes += scan.notes
    summary.range = scan.range
    summary.looked_at = scan.looked_at
    summary.limited = scan.limited
    summary.seconds = scan.seconds
