"""Deleting many jobs: those of a tube and a state, and no other."""

from __future__ import annotations

from collections.abc import Sequence

from ..client.bulk import Bulk, raise_lost
from ..client.client import Client
from ..errors import InvalidArgument
from ..protocol.commands import DELETE
from .change import BATCH, Change, count_results
from .claim import claim_unchanged
from .progress import OnProgress, Summary
from .ready_deletion import ReadyDeletion, ready_jobs_will_do
from .record import SETTLED_STATES, JobRecord
from .selection import Selection
from .several import on_each
from .sole_tube import SoleTubeDeletion

READY_CLAIMS = 64
"""Ready jobs that are reserved in one go in order to be deleted. The more a connection holds, the
slower the server carries out each command."""

CLAIMS = 16
"""Buried or delayed jobs that are reserved in one go in order to be deleted; twice as many are
held at the most. They are ready if the connection is lost just then, so they are few."""


@on_each("deleted")
async def clear(
    client: Client,
    selection: Selection,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Delete the jobs of tubes; return what was done.

    It is :func:`delete` for a selection that names at least one tube.

    Raises InvalidArgument if it names none, or the state ``reserved``.
    """
    if not selection.tubes:
        raise InvalidArgument("clear needs the name of a tube: delete takes any selection")
    return await delete(
        client, selection, dry_run=dry_run, limit=limit, progress=progress, summary=summary
    )


@on_each("deleted")
async def delete(
    client: Client,
    selection: Selection,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Delete the jobs of a selection; return what was done.

    Without a state in the selection, all are deleted but those that are reserved. All ready jobs
    of a tube are deleted by a second connection, which watches that tube alone. No job is
    deleted in another tube or state than was named, whatever other connections do meanwhile:
    where not all three states are meant, or a priority or the highest age decides, each job is
    reserved just before it is deleted. If the connection is lost in that moment, some jobs are
    ready afterwards which were delayed or buried (32 at the most).

    :param client: or clients by the names of their servers, as `pool.clients`; then the summary
        tells of each server too, a lost one does not keep the others from being done, and the
        limit is that of all
    :param dry_run: change nothing, and count what would be deleted
    :param limit: the number of jobs to delete at the most; None: no limit
    :param progress: called with the progress, some times a second
    :param summary: filled in on the way, so that it tells what was done also after an error

    Cancelled, it ends between two jobs. Raises ConnectionLost, and InvalidArgument if the
    selection names the state ``reserved``: such a job is its worker's alone.
    """
    done = Summary() if summary is None else summary
    done.action = "deleted"
    certain = _any_state_will_do(selection)
    change = Change(
        client,
        selection,
        SETTLED_STATES,
        done,
        dry_run=dry_run,
        limit=limit,
        progress=progress,
        batch=_batch(selection, certain),
    )

    async def delete_found(bulk: Bulk, records: Sequence[JobRecord]) -> None:
        # The connection of this client could delete what it has reserved itself.
        chosen = [record for record in records if record.id not in bulk.jobs]
        done.skip("reserved by this client", len(records) - len(chosen))
        await _delete(bulk, chosen, done)

    async def delete_claimed(bulk: Bulk, records: Sequence[JobRecord]) -> None:
        await _delete(bulk, await claim_unchanged(bulk, records, selection, done), done)

    if not dry_run and certain and len(selection.tubes) == 1 and ready_jobs_will_do(selection):
        (tube,) = selection.tubes
        await SoleTubeDeletion(client, tube, done, limit, progress).run()
    if not dry_run and ready_jobs_will_do(selection):
        await ReadyDeletion(client, sorted(selection.tubes), done, limit, progress).run()
    return await change.run(delete_found if certain else delete_claimed)


def _batch(selection: Selection, certain: bool) -> int:
    """Return how many jobs to delete in one go."""
    if certain:
        return BATCH
    return READY_CLAIMS if selection.states == {"ready"} else CLAIMS


def _any_state_will_do(selection: Selection) -> bool:
    """Return whether a job may be deleted in whatever state and with whatever priority it has."""
    named = not selection.states or selection.states >= SETTLED_STATES
    return named and not selection.filters_changeably


async def _delete(bulk: Bulk, records: Sequence[JobRecord], summary: Summary) -> None:
    if not records:
        return
    results = await bulk.send(DELETE, [b"delete %d\r\n" % record.id for record in records])
    count_results(summary, records, results)
    bulk.jobs.difference_update(record.id for record in records)
    raise_lost(results)
