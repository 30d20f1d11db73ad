"""Deleting all ready jobs of a tube: they are reserved by a connection that watches nothing else.

The server gives that connection jobs that are ready in that tube, and no other. So there is no
moment in which another state or tube could be meant, no id has to be looked for, and a job whose
deletion is cut short is ready again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..client.bulk import Bulk, raise_lost, sibling
from ..client.client import Client
from ..errors import ConnectionLost, NotFound
from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.commands import DELETE, RESERVE_WITH_TIMEOUT
from .change import count_results
from .progress import OnProgress, Progress, Summary
from .record import unread
from .scan import PROGRESS_INTERVAL
from .selection import Selection

RESERVES = 128
"""Jobs that are reserved in one go; twice as many are held at the most. The more a connection
holds, the slower the server carries out each command."""

CONNECT_TIMEOUT = 5.0
"""Seconds to try to connect once more to a server that is there."""

RESERVE_NOW = replace(RESERVE_WITH_TIMEOUT, read=lambda words, data: int(words[1]))
"""The command reserve-with-timeout, with the id of the job for its result."""

RESERVE_LINE = RESERVE_NOW.encode(0)

Deletes = tuple[Sequence[int], "asyncio.Future[list[Any]]"]
"""The ids of jobs, and what will become of their deletes."""


def ready_jobs_will_do(selection: Selection) -> bool:
    """Return whether all ready jobs of some tubes are meant, among others or alone."""
    return (
        bool(selection.tubes)
        and (not selection.states or "ready" in selection.states)
        and not selection.filters
        and selection.since_id <= 1
        and selection.until_id is None
    )


class ReadyDeletion:
    """Delete as many ready jobs of each tube as there are when it begins.

    Those that cannot be reserved, as in a tube that is paused, are left.
    """

    def __init__(
        self,
        client: Client,
        tubes: Sequence[str],
        summary: Summary,
        limit: int | None,
        progress: OnProgress | None,
    ) -> None:
        self._client = client
        self._tubes = tubes
        self._summary = summary
        self._limit = limit
        self._progress = progress
        self._total = 0
        self._began = self._told = time.monotonic()
        self._under_way = 0  # jobs that are being reserved or deleted
        self._stopping = False

    async def run(self) -> None:
        """Delete the ready jobs of the tubes.

        Cancelled, it ends between two jobs. Raises ConnectionLost.
        """
        ready = {tube: await self._count(tube) for tube in self._tubes}
        self._total = sum(ready.values())
        if not self._total or self._limit == 0:
            return
        task = asyncio.get_running_loop().create_task(self._run(ready))
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                self._stopping = True  # what was reserved is deleted before it ends
        self._summary.interrupted = self._stopping
        self._summary.seconds = time.monotonic() - self._began
        task.result()
        self._tell(at_end=True)
        if self._stopping:
            raise asyncio.CancelledError

    async def _count(self, tube: str) -> int:
        try:
            return (await self._client.stats_tube(tube)).get("current-jobs-ready", 0)
        except NotFound:
            return 0

    async def _run(self, ready: dict[str, int]) -> None:
        client = sibling(self._client, CONNECT_TIMEOUT)
        try:
            bulk = await _connected(client)
            if bulk is not None:
                await self._delete_all(client, bulk, ready)
        finally:
            await client.close()

    async def _delete_all(self, client: Client, bulk: Bulk, ready: dict[str, int]) -> None:
        watched = DEFAULT_TUBE
        for tube, number in ready.items():
            if number and tube != watched:
                await client.watch(tube)
                await client.ignore(watched)
                watched = tube
            await self._delete(bulk, tube, number)

    async def _delete(self, bulk: Bulk, tube: str, number: int) -> None:
        """Reserve and delete jobs of the one tube that the connection watches."""
        reserves: deque[asyncio.Future[list[Any]]] = deque()
        deletes: deque[Deletes] = deque()
        left = number  # that are still to be reserved
        try:
            while True:
                while len(reserves) < 2 and (count := self._next_count(left)):
                    reserves.append(
                        bulk.send(RESERVE_NOW, [b"reserve-with-timeout 0\r\n"] * count)
                    )
                    self._under_way += count
                    left -= count
                if reserves:
                    found = await reserves.popleft()
                    raise_lost(found)
                    ids = [each for each in found if isinstance(each, int)]
                    if len(ids) < len(found):  # there are no more, or none can be reserved
                        self._under_way -= len(found) - len(ids)
                        left = 0
                    if ids:
                        sent = bulk.send(DELETE, [b"delete %d\r\n" % job_id for job_id in ids])
                        deletes.append((ids, sent))
                elif not deletes:
                    return
                if len(deletes) > 1 or not reserves:
                    await self._take(deletes, tube)
        finally:
            while deletes:  # where the connection was lost, they are not known
                await self._take(deletes, tube)

    def _next_count(self, left: int) -> int:
        """Return how many jobs to reserve next."""
        if self._stopping:
            return 0
        if self._limit is not None:
            left = min(left, self._limit - self._summary.done - self._under_way)
        return min(left, RESERVES)

    async def _take(self, deletes: deque[Deletes], tube: str) -> None:
        """Count what became of the first of the deletes, if there are any."""
        if not deletes:
            return
        ids, sent = deletes.popleft()
        self._under_way -= len(ids)
        count_results(self._summary, [unread(job_id, tube, "ready") for job_id in ids], await sent)
        self._tell()

    def _tell(self, at_end: bool = False) -> None:
        now = time.monotonic()
        if self._progress is not None and (at_end or now - self._told >= PROGRESS_INTERVAL):
            self._told = now
            done = self._summary.done
            total = done if at_end else self._total
            self._progress(Progress("jobs", done, total, now - self._began, done))


async def _connected(client: Client) -> Bulk | None:
    """Connect; return the connection, or None if the server takes no other one.

    The ready jobs are found in another way then.
    """
    try:
        await client.connect()
        bulk = Bulk(client)
        # A server without free descriptors accepts a connection, and never answers.
        await client.watch(DEFAULT_TUBE)
    except ConnectionLost:
        return None
    return bulk
