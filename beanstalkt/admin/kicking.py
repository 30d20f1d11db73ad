"""Kicking many jobs: those of a selection, or all of a tube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..client.bulk import Bulk, raise_lost
from ..client.client import Client
from ..errors import ConnectionLost, NotFound
from ..protocol.commands import KICK_JOB
from .change import Change, count_results
from .progress import OnProgress, Summary
from .record import JobRecord, State
from .selection import Selection, select
from .several import Clients, on_each

KICKABLE: tuple[State, ...] = ("buried", "delayed")
"""The states that a job can be kicked in."""


@on_each("kicked")
async def kick(
    client: Client,
    selection: Selection,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Make the buried and delayed jobs of a selection ready; return what was done.

    A job that changes from one of the two states to the other between the look and the kick is
    kicked in either. The other arguments, and what becomes of it when it is cancelled or the
    connection is lost, are those of :func:`~beanstalkt.admin.delete`.

    Raises ConnectionLost, and InvalidArgument if the selection names another state.
    """
    done = Summary() if summary is None else summary
    done.action = "kicked"
    change = Change(
        client, selection, KICKABLE, done, dry_run=dry_run, limit=limit, progress=progress
    )

    async def kick_found(bulk: Bulk, records: Sequence[JobRecord]) -> None:
        kicks = [b"kick-job %d\r\n" % record.id for record in records]
        results = await bulk.send(KICK_JOB, kicks)
        count_results(done, records, results)
        raise_lost(results)

    return await change.run(kick_found)


async def kick_all(
    client: Client | Clients,
    tube: str,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Make all buried jobs of a tube ready, or all delayed ones if none is buried.

    That is what the command kick does with some of them, and it is decided once, at the beginning,
    for all servers together. The arguments, the result and the errors are those of :func:`kick`.
    """
    several = isinstance(client, Mapping)
    state: State = "delayed"
    for each in client.values() if isinstance(client, Mapping) else [client]:
        try:
            stats: Any = await each.stats_tube(tube)
        except NotFound:
            continue
        except ConnectionLost:
            if not several:
                raise
            continue  # the kick itself tells that
        if stats.get("current-jobs-buried"):
            state = "buried"
            break
    return await kick(
        client,
        select(tube, state),
        dry_run=dry_run,
        limit=limit,
        progress=progress,
        summary=summary,
    )
