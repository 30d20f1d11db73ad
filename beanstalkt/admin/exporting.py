"""Exporting: the jobs of a server as JSON lines, from which they can be imported again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..client.client import Client
from .portable import encode
from .progress import OnProgress, Summary
from .scan import Scan
from .selection import Selection


async def export_jobs(
    client: Client,
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

    :param limit: the number of jobs after which it ends; None: no limit
    :param summary: is filled in as the export goes on
    :param progress: called some times a second

    Raises ConnectionLost.
    """
    summary = Summary() if summary is None else summary
    summary.action = "exported"
    scan = Scan(client, selection, bodies=True, limit=limit, progress=progress)
    try:
        async for record in scan:
            summary.done += 1
            summary.states[record.state] += 1
            summary.tubes[record.tube] += 1
            yield encode(record)
    finally:
        summary.vanished = scan.vanished
        summary.notes += scan.notes
        summary.range = scan.range
        summary.looked_at = scan.looked_at
        summary.limited = limit is not None and scan.matched >= limit
        summary.seconds = scan.seconds
