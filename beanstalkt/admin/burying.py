"""Burying many jobs: putting them aside, so that no worker gets them."""

from __future__ import annotations

from collections.abc import Sequence

from ..client.bulk import Bulk, raise_lost
from ..client.client import Client
from ..protocol.commands import BURY
from .change import Change, count_results
from .claim import claim_unchanged
from .deletion import CLAIMS
from .progress import OnProgress, Summary
from .record import JobRecord, State
from .selection import Selection
from .several import on_each

BURIABLE: frozenset[State] = frozenset({"ready", "delayed"})
"""The states in which a job can be buried by somebody else than its worker."""


@on_each("buried")
async def bury(
    client: Client,
    selection: Selection,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Bury the ready and delayed jobs of a selection; return what was done.

    Each is reserved just before it is buried, which raises its counter of reserves, and keeps its
    priority. If the connection is lost in that moment, some jobs are ready afterwards which were
    delayed (32 at the most).

    :param dry_run: change nothing, and count what would be buried
    :param limit: the number of jobs to bury at the most; None: no limit
    :param progress: called with the progress, some times a second
    :param summary: filled in on the way, so that it tells what was done also after an error

    Cancelled, it ends between two jobs. Raises ConnectionLost, and InvalidArgument if the
    selection names another state.
    """
    done = Summary() if summary is None else summary
    done.action = "buried"
    change = Change(
        client,
        selection,
        BURIABLE,
        done,
        dry_run=dry_run,
        limit=limit,
        progress=progress,
        batch=CLAIMS,
    )

    async def bury_claimed(bulk: Bulk, records: Sequence[JobRecord]) -> None:
        found = await claim_unchanged(bulk, records, selection, done)
        if not found:
            return
        buries = [BURY.encode(record.id, record.priority) for record in found]
        results = await bulk.send(BURY, buries)
        count_results(done, found, results)
        bulk.jobs.difference_update(record.id for record in found)
        raise_lost(results)

    return await change.run(bury_claimed)
