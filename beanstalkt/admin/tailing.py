"""The tail: the jobs that are put from now on, seen without being reserved."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..client.client import Client
from ..errors import InvalidArgument, NotFound
from .extent import Extent
from .pattern_search import PatternSearch
from .record import JobRecord
from .scan import MAX_STEP, Scan
from .selection import Selection

INTERVAL = 0.5
"""Seconds between two looks for new jobs, unless others are asked for."""

TAIL_MARGIN = 1000
"""Ids to look at above the expected ones, where the server does not tell how far its ids go."""


class Tail:
    """Yield the records of the jobs that are put from now on.

    It looks at the new ids at intervals, and reserves nothing. So it does not see a job that was
    put, worked on and deleted between two looks; :attr:`missed` counts those, as far as the server
    does: it forgets the counters of a tube that is empty and that no connection uses or watches.

    The iteration never ends by itself; it raises ConnectionLost when the connection is lost.

    :param bodies: whether the records have bodies
    :param interval: seconds between two looks
    """

    def __init__(
        self,
        client: Client,
        selection: Selection,
        *,
        bodies: bool = True,
        interval: float = INTERVAL,
    ) -> None:
        if not interval > 0:
            raise InvalidArgument(f"interval must be more than 0 seconds, not {interval!r}")
        #: how many jobs were put into the tubes since it began, as the server counts them
        self.put = 0
        #: how many of them were seen, whether they matched or not
        self.seen = 0
        self._client = client
        self._selection = selection
        self._bodies = bodies
        self._search = None if selection.pattern is None else PatternSearch(selection.pattern)
        self._interval = interval
        self._totals: dict[str, int] = {}  # jobs ever put into each tube
        self._new_ids: NewIds | None = None  # until it has begun
        self._pending: list[int] = []  # ids of jobs that the server had not received whole
        self._scans: deque[Scan] = deque()

    @property
    def missed(self) -> int:
        """How many jobs were gone before they were seen, as far as is known by now."""
        return max(0, self.put - self.seen)

    def __aiter__(self) -> Tail:
        return self

    async def __anext__(self) -> JobRecord:
        if self._new_ids is None:
            await self._begin()
        while True:
            if not self._scans:
                await asyncio.sleep(self._interval)
                await self._look()
                continue
            scan = self._scans[0]
            try:
                return await scan.__anext__()
            except StopAsyncIteration:
                self._end(self._scans.popleft())

    async def _begin(self) -> None:
        extent = Extent(self._client, self._selection.tubes)
        await extent.look()
        new_ids = NewIds(extent.highest, extent.puts)
        if extent.highest is None:  # look for the highest that exists: new ones are above it
            highest = extent.known
            async for record in Scan(self._client, Selection(since_id=max(1, highest))):
                highest = max(highest, record.id)
            new_ids.found(highest, extent.puts)
        await self._count_puts()
        self.put = 0
        self._new_ids = new_ids

    async def _look(self) -> None:
        """Begin scans of the new ids, if there are any."""
        assert self._new_ids is not None
        puts = (await self._client.stats()).get("cmd-put", 0)
        await self._count_puts()
        ranges = [(job_id, job_id) for job_id in self._pending]
        self._pending = []
        if (new := self._new_ids.after(puts, missing=self.put > self.seen)) is not None:
            ranges.append(new)
        for first, last in ranges:
            first, last = (
                max(first, self._selection.since_id),
                min(last, self._selection.until_id or last),
            )
            if first <= last:
                chosen = replace(self._selection, since_id=first, until_id=last)
                self._scans.append(
                    Scan(self._client, chosen, bodies=self._bodies, search=self._search)
                )

    def _end(self, scan: Scan) -> None:
        assert self._new_ids is not None
        self.seen += scan.seen
        self._pending += scan.incomplete
        if scan.highest_seen:
            self._new_ids.found(scan.highest_seen, self._new_ids.puts)

    async def _count_puts(self) -> None:
        """Count the jobs that were put into the tubes since the last time."""
        for tube in sorted(self._selection.tubes) or [""]:
            stats: Any = {}
            with suppress(NotFound):
                stats = await (self._client.stats_tube(tube) if tube else self._client.stats())
            total = stats.get("total-jobs", 0)
            before = self._totals.get(tube, 0)
            # The server forgets a tube that is empty and not used, and counts from 0 again.
            self.put += total - before if total >= before else total
            self._totals[tube] = total


class NewIds:
    """The ids that a server gives from now on, as far as the number of its puts tells.

    Where the server does not tell how far its ids go, the highest one that was found is the
    guide, and the ids that may be looked at are more with each look that finds none.

    :param highest: an id above which the server has given none; None if it does not tell
    :param puts: how many put commands it has got by now
    """

    def __init__(self, highest: int | None, puts: int) -> None:
        self._exact = highest is not None
        self._next = (highest or 0) + 1
        self._offset = 0  # what is to be added to a number of puts
        self._margin = TAIL_MARGIN
        #: how many put commands the server had got at the last look
        self.puts = puts

    def found(self, job_id: int, puts: int) -> None:
        """Note that there was a job with this id when the server had got so many puts."""
        if not self._exact and job_id >= self._next:
            self._next = job_id + 1
            self._offset = job_id - puts
            self._margin = TAIL_MARGIN

    def after(self, puts: int, missing: bool) -> tuple[int, int] | None:
        """Return the first and the last id to look at; None if there is none.

        :param missing: whether there were jobs of late that were not seen
        """
        came, self.puts = puts > self.puts, puts
        if self._exact:
            first, self._next = self._next, max(self._next, puts + 1)
            return (first, puts) if first <= puts else None
        if not (came or (missing and self._margin < MAX_STEP)):
            return None
        last = self._offset + puts + self._margin
        self._margin = min(2 * self._margin, MAX_STEP)
        self._next = max(self._next, last - MAX_STEP)
        return self._next, last
