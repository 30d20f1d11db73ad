"""Ask a server for its statistics, those of its tubes, and their next ready jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from ..client.client import Client, Future
from ..errors import NotFound
from ..protocol.arguments import TUBE_NAME
from ..protocol.stats import StatsTube
from .rates import Reading
from .snapshot import Head
from .tube_filter import TubeFilter

BATCH = 100
"""Commands that are written at once. The server serves other connections between any two of them;
this bounds what is in memory, and how long other commands of the same client have to wait."""

T = TypeVar("T")


async def read(
    client: Client,
    tubes: TubeFilter | None = None,
    heads: int = 0,
    before: Collection[str] = (),
) -> Reading:
    """Ask a server for its statistics and for those of its tubes.

    Nothing is reserved or changed. Cancelled, it sends no more; what was sent is read and dropped.

    :param tubes: which tubes to look at; None: all
    :param heads: the number of tubes at most whose next ready job is looked at, those with the
        most ready jobs first. Each costs four more commands, and the server sends the job's body
    :param before: the tubes that were looked at last, which a limit prefers

    Raises ConnectionLost, and UnexpectedResponse for what no server says.
    """
    began = time.monotonic()
    answers: Any = await asyncio.gather(client.stats(), client.list_tubes())
    stats, names = answers
    # A name that no tube can have, and that a server lists all the same, cannot be asked for.
    known = (name for name in names if TUBE_NAME.fullmatch(name))
    chosen, left_out = (tubes or TubeFilter()).choose(known, before)
    clock, now = time.monotonic(), time.time()
    found = await _ask_each(client, client.stats_tube, chosen)
    return Reading(
        now,
        clock,
        stats=stats,
        tubes=found,
        tube_count=len(names),
        left_out=left_out,
        heads=await _heads(client, found, heads) if heads else {},
        took=time.monotonic() - began,
        using=client.using,
        watching=client.watching,
    )


async def _heads(client: Client, tubes: Mapping[str, StatsTube], limit: int) -> dict[str, Head]:
    """Look at the next ready jobs of the tubes that have most of them."""
    ready = {name: each.get("current-jobs-ready", 0) for name, each in tubes.items()}
    most = sorted((name for name in ready if ready[name]), key=lambda name: -ready[name])
    jobs = await _ask_each(client, lambda name: client.peek_ready(tube=name), most[:limit])
    by_id = {job.id: name for name, job in jobs.items()}
    known = await _ask_each(client, client.stats_job, list(by_id))
    return {
        by_id[job_id]: Head(job_id, job.get("age", 0), job.get("timeouts", 0))
        for job_id, job in known.items()
        if job.get("state") == "ready" and job.get("tube") == by_id[job_id]
    }


async def _ask_each(
    client: Client, ask: Callable[[Any], Future[T]], keys: Sequence[Any]
) -> dict[Any, T]:
    """Ask for each key, with two batches under way; leave out what is not found any more.

    While the replies to one batch are read, the server works on the next one.
    """
    found: dict[Any, T] = {}
    under_way: list[tuple[Sequence[Any], Future[list[Any]]]] = []
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        with client.together():
            futures = [ask(key) for key in batch]
        under_way.append((batch, asyncio.gather(*futures, return_exceptions=True)))
        if len(under_way) == 2:
            await _take(found, *under_way.pop(0))
    for each in under_way:
        await _take(found, *each)
    return found


async def _take(found: dict[Any, T], keys: Sequence[Any], answers: Future[list[Any]]) -> None:
    for key, answer in zip(keys, await answers, strict=True):
        if isinstance(answer, NotFound):
            continue
        if isinstance(answer, BaseException):
            raise answer
        found[key] = answer
