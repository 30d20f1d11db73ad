"""A change of many jobs: finds them, and carries something out on them, batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..client.bulk import MISSING, Bulk
from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument, NotFound
from .extent import Extent
from .progress import OnProgress, Progress, Summary
from .record import SETTLED_STATES, JobRecord, State, unread
from .scan import Scan
from .selection import Selection

BATCH = 256
"""Jobs that are changed in one go."""

HEAD_COST = 20
"""How many ids can be looked at in the time that it takes to find the next job of a tube and
change it."""

RESERVED = "reserved by a worker"
"""Why a job is left alone that only its worker can delete."""

Work = Callable[[Bulk, Sequence[JobRecord]], Awaitable[None]]
"""Carry the change out on some jobs, and count in the summary what became of them."""


class Change:
    """Find the jobs of a selection that are in certain states, and change them.

    Where all jobs of a tube in some states are meant, they are found as the next ones of the tube,
    one after another, if that takes less time than to look at all ids.

    :param states: the states that the change is possible in
    :param limit: the number of jobs to change at the most; None: no limit
    :param batch: the number of jobs to change in one go
    :param heads: whether jobs may be found as the next ones of a tube, as is possible where each
        is gone or in another state when it was changed
    :param at_once: the number of batches that may be under way
    :param in_one_step: whether the change of a job sends all its commands at once, so that the
        job is the next one of its tube no longer when they have been answered
    """

    def __init__(
        self,
        client: Client,
        selection: Selection,
        states: Iterable[State],
        summary: Summary,
        *,
        dry_run: bool,
        limit: int | None,
        progress: OnProgress | None,
        batch: int = BATCH,
        heads: bool = True,
        at_once: int = 2,
        in_one_step: bool = True,
    ) -> None:
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit must be 0 or more, not {limit}")
        possible = frozenset(states)
        if not selection.states <= possible:
            wrong = ", ".join(sorted(selection.states - possible))
            raise InvalidArgument(
                f"jobs that are {wrong} cannot be {summary.action}: only those that are "
                f"{' or '.join(sorted(possible))}"
            )
        self._client = client
        self._asked = selection
        self._selection = replace(selection, states=selection.states or possible)
        #: whether it is told how many jobs are reserved: all jobs were meant, and these cannot be
        self._tells_of_reserved = not selection.states and possible == SETTLED_STATES
        self._summary = summary
        self._dry_run = summary.dry_run = dry_run
        self._limit = limit
        self._progress = progress
        self._batch = batch
        self._heads = heads
        self._at_once = at_once
        self._in_one_step = in_one_step
        self._stopped = False
        #: whether jobs are found as the next ones of a tube: of these only the id, the tube and
        #: the state are known
        self.by_heads = False
        self._running: set[asyncio.Task[None]] = set()
        self._started = 0  # jobs whose change is under way
        self._began = time.monotonic()

    async def run(self, work: Work) -> Summary:
        """Change the jobs; return the summary.

        Cancelled, it ends between two jobs: those whose change has begun are changed before it
        raises. Raises ConnectionLost. In both cases the summary tells what was done.
        """
        try:
            if self._limit is None or self._summary.done < self._limit:
                await self._run(work)
            else:
                self._summary.limited = True
        except asyncio.CancelledError:
            self._summary.interrupted = True
            raise
        finally:
            self._summary.seconds = time.monotonic() - self._began
        return self._summary

    def stop(self) -> None:
        """Find no more jobs; what is under way comes to its end."""
        self._stopped = True

    async def _run(self, work: Work) -> None:
        self.by_heads = await self._heads_are_cheaper()
        if self.by_heads:
            await (self._count() if self._dry_run else self._change_heads(work))
        else:
            await self._scan(work)

    # --- by a scan ----------------------------------------------------------------------------

    async def _scan(self, work: Work) -> None:
        summary = self._summary
        scan = Scan(self._client, self._looked_for(), progress=self._scan_progress())
        batch: list[JobRecord] = []
        try:
            async for record in scan:
                if self._stopped:
                    break
                if record.state not in self._selection.states:
                    if self._tells_of_reserved and record.state == "reserved":
                        summary.skip(RESERVED)
                elif self._dry_run:
                    count(summary, record)
                    if summary.done == self._limit:
                        break
                else:
                    batch.append(record)
                    if len(batch) >= self._batch or self._at_limit(batch):
                        await self._start(work, scan.bulk, batch)
                        batch = []
                        if await self._limit_reached():
                            break
            if batch and not self._stopped:
                await self._start(work, scan.bulk, batch)
        finally:
            summary.range, summary.looked_at = scan.range, scan.looked_at
            summary.vanished += scan.vanished
            summary.notes += scan.notes
            await self._finish()
            summary.limited = summary.done == self._limit and not scan.complete

    def _looked_for(self) -> Selection:
        """Return the selection of the scan, which has to find those that are to be told of."""
        return self._asked if self._tells_of_reserved else self._selection

    def _scan_progress(self) -> OnProgress | None:
        told = self._progress
        if told is None:
            return None
        return lambda progress: told(replace(progress, jobs=self._summary.done))

    def _at_limit(self, batch: Sequence[JobRecord]) -> bool:
        """Return whether, if all under way succeeds, this batch is the last."""
        if self._limit is None:
            return False
        return self._summary.done + self._started + len(batch) >= self._limit

    async def _limit_reached(self) -> bool:
        if not self._at_limit(()):
            return False
        await self._finish()  # some of them may have been gone
        return self._at_limit(())

    async def _start(self, work: Work, bulk: Bulk, batch: Sequence[JobRecord]) -> None:
        """Begin to change a batch; wait while as many as may be are under way."""
        await self._wait_for_less_than(self._at_once)
        self._started += len(batch)
        task = asyncio.get_running_loop().create_task(self._carry_out(work, bulk, batch))
        self._running.add(task)

    async def _carry_out(self, work: Work, bulk: Bulk, batch: Sequence[JobRecord]) -> None:
        try:
            await work(bulk, batch)
        finally:
            self._started -= len(batch)

    async def _wait_for_less_than(self, number: int) -> None:
        while len(self._running) >= number:
            done, self._running = await asyncio.wait(
                self._running, return_when=asyncio.FIRST_COMPLETED
            )
            # Of each, so that none is reported to the loop as never retrieved.
            errors = [error for task in done if (error := task.exception()) is not None]
            if errors:
                raise errors[0]

    async def _finish(self) -> None:
        """Wait for what is under way, also when cancelled: no job is left half-way.

        Raises the first error of those changes, else CancelledError if it was cancelled.
        """
        problem: BaseException | None = None
        while self._running:
            try:
                await self._wait_for_less_than(1)
            except asyncio.CancelledError as error:
                problem = problem or error
            except Exception as error:
                problem = error
        if problem is not None:
            raise problem

    # --- by the next job of each tube and state -----------------------------------------------

    async def _heads_are_cheaper(self) -> bool:
        selection = self._selection
        if not selection.tubes or selection.filters or selection.since_id > 1:
            return False
        if not self._heads and not self._dry_run:
            return False
        if selection.until_id is not None:
            return False
        extent = Extent(self._client, selection.tubes)
        await extent.look()
        return (extent.highest or extent.known) > HEAD_COST * extent.jobs or self._dry_run

    async def _counts(self) -> AsyncIterator[tuple[str, State, int]]:
        """Yield each tube and state that is meant, with the number of its jobs."""
        for tube in sorted(self._selection.tubes):
            try:
                stats: Any = await self._client.stats_tube(tube)
            except NotFound:
                continue
            for state in sorted(self._selection.states):
                yield tube, state, stats.get(f"current-jobs-{state}", 0)
            if self._tells_of_reserved:
                self._summary.skip(RESERVED, stats.get("current-jobs-reserved", 0))

    async def _count(self) -> None:
        """Count the jobs, as the server does, without a look at any of them."""
        summary = self._summary
        async for tube, state, number in self._counts():
            if self._limit is not None and summary.done + number > self._limit:
                number, summary.limited = self._limit - summary.done, True
            if number:
                summary.done += number
                summary.states[state] += number
                summary.tubes[tube] += number

    async def _change_heads(self, work: Work) -> None:
        bulk = Bulk(self._client)
        counts = [each async for each in self._counts()]
        total = sum(number for _, _, number in counts)
        try:
            for tube, state, number in counts:
                await self._change_heads_of(work, bulk, (tube, state), number, total)
        finally:
            await self._finish()

    async def _change_heads_of(
        self, work: Work, bulk: Bulk, where: tuple[str, State], number: int, total: int
    ) -> None:
        """Change the next job of a tube and state, one after another.

        :param number: how many there are; no more are changed, since workers may bury again what
            was kicked
        """
        summary = self._summary
        job_id = await self._head(*where)
        for _ in range(number):
            if job_id is None or self._stopped:
                return
            if self._limit is not None and summary.done >= self._limit:
                summary.limited = True
                return
            failed = summary.failed
            await self._start(work, bulk, [unread(job_id, *where)])
            if self._in_one_step:
                # Once it has sent its commands, the next job can be asked for.
                await asyncio.sleep(0)
                job_id = await self._head(*where)
            await self._wait_for_less_than(1)
            if not self._in_one_step:
                job_id = await self._head(*where)
            if summary.failed > failed:
                return  # the same job would be the next one for ever
            self._tell(summary.done, total)

    async def _head(self, tube: str, state: State) -> int | None:
        peek = getattr(self._client, f"peek_{state}")
        try:
            job = await peek(tube=tube)
        except NotFound:
            return None
        job_id: int = job.id
        return job_id

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            seconds = time.monotonic() - self._began
            self._progress(Progress("jobs", done, total, seconds, self._summary.done))


def count(summary: Summary, record: JobRecord) -> None:
    """Count a job that was done."""
    summary.done += 1
    summary.states[record.state] += 1
    summary.tubes[record.tube] += 1


def count_results(
    summary: Summary, records: Sequence[JobRecord], results: Sequence[object]
) -> None:
    """Count what became of jobs, as the results of their commands tell."""
    for record, result in zip(records, results, strict=True):
        if result is None:
            count(summary, record)
        elif result is MISSING:
            summary.vanished += 1
        elif isinstance(result, ConnectionLost):
            summary.unknown += result.sent
        elif isinstance(result, BeanstalkException):
            summary.fail(record.id, str(result))
