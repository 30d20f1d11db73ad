"""Importing: the lines of an export become jobs again, with all that they had."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument, UnexpectedResponse
from ..protocol.arguments import TUBE
from ..protocol.stats import Stats
from .journal import Journal, checksum_of
from .portable import PortableJob, decode
from .progress import OnError, OnProgress, Progress, Summary, check_on_error
from .resuming import Line, Resumption
from .scan import PROGRESS_INTERVAL
from .target import Placing, Target

T = TypeVar("T")

BATCH = 256
"""Jobs that are put in one go at the most."""

BATCH_SIZE = 2**18
"""Bytes of bodies that are put in one go, unless a single body is longer."""

AT_ONCE = 2
"""Batches that are under way."""


async def import_jobs(
    client: Client,
    lines: Iterable[bytes | str] | AsyncIterable[bytes | str],
    *,
    tube: str | None = None,
    on_error: OnError = "stop",
    resume: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    summary: Summary | None = None,
    progress: OnProgress | None = None,
) -> Summary:
    """Put the jobs of an export, with the tube, priority, ttr, state and delay that they had.

    A buried job is buried again, without a moment at which a worker could reserve it. A job that
    was reserved is put as a ready one. At most 512 jobs are under way at a time.

    :param lines: what `export_jobs` yields, or the lines of a file of that; empty ones are
        skipped. An asynchronous generator is closed at the end.
    :param tube: puts all jobs into this tube
    :param on_error: what to do after a line that is wrong, or that the server refuses: ``"stop"``
        when what is under way has been answered, or ``"skip"`` it
    :param resume: a file that tells which lines were done, kept for the next call: given the same
        lines and file, that one puts the others only, however this one ended. What was under way
        when the process was killed is looked for in the server, and put if it is not found.
    :param dry_run: check the lines and count the jobs, but put none
    :param summary: is filled in as the import goes on, and returned; a new one by default. Its
        failures have the numbers of lines.
    :param progress: called some times a second

    Raises ConnectionLost, OSError for the file to resume from, and InvalidArgument if that
    belongs to another import. When it is cancelled, it waits for what is under way.
    """
    opening = importing(
        client,
        tube=tube,
        on_error=on_error,
        resume=resume,
        dry_run=dry_run,
        summary=summary,
        progress=progress,
    )
    async with opening as importer:
        if isinstance(lines, AsyncIterable):
            async with closed_at_end(aiter(lines)) as iterator:
                async for line in iterator:
                    await importer.take(line)
                    if importer.stopped:
                        break
        else:
            for line in lines:
                await importer.take(line)
                if importer.stopped:
                    break
    return importer.summary


@asynccontextmanager
async def closed_at_end(lines: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an asynchronous iterator at the end of the ``with`` if it is a generator."""
    try:
        yield lines
    finally:
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


@asynccontextmanager
async def importing(
    client: Client,
    *,
    resume: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    summary: Summary | None = None,
    **options: Any,
) -> AsyncIterator[Importer]:
    """Give an importer, whose lines are all put, or known not to be, at the end of the ``with``.

    The arguments and errors are those of :func:`import_jobs`.
    """
    summary = Summary() if summary is None else summary
    summary.action = "imported"  # before anything fails
    with ExitStack() as stack:
        journal = None
        if resume is not None and not (dry_run and not os.path.exists(resume)):
            journal = stack.enter_context(Journal(resume))
        importer = Importer(client, journal=journal, dry_run=dry_run, summary=summary, **options)
        try:
            await importer.begin()
            yield importer
            await importer.end()
        except asyncio.CancelledError:
            importer.summary.interrupted = True
            raise
        finally:
            await importer.settle()


class Importer:
    """Put the jobs of lines as they were; :func:`import_jobs` tells what the arguments mean.

    Give it the lines with :meth:`take`, call :meth:`end` after the last one, and :meth:`settle`
    however that ends.
    """

    def __init__(
        self,
        client: Client,
        *,
        tube: str | None = None,
        on_error: OnError = "stop",
        journal: Journal | None = None,
        dry_run: bool = False,
        summary: Summary | None = None,
        progress: OnProgress | None = None,
    ) -> None:
        check_on_error(on_error)
        if tube is not None:
            TUBE.check(tube)
        self.summary = summary = Summary() if summary is None else summary
        summary.action, summary.noun, summary.dry_run = "imported", "line", dry_run
        #: whether no more lines are taken, because one was refused
        self.stopped = False
        self._refused_by_server = False  # so what was gathered is not put either
        self._settled = False
        self._client = client
        self._tube = tube
        self._on_error = on_error
        self._dry_run = dry_run
        self._progress = progress
        self._began = self._told = time.monotonic()
        self._target = Target(client)
        self._resumption = None if journal is None else Resumption(client, journal)
        self._stats: Stats = {}
        self._number = 0  # of the last line
        self._last_sent = 0  # the number of the last line whose job was put, or refused
        self._were_reserved = 0
        self._batch: list[Line] = []
        self._size = 0  # bytes of bodies in the batch
        # The first id tells where to look for the jobs of later lines, if it comes to that.
        self._limit = 1 if journal is not None and not journal.last_id else BATCH
        self._under_way: deque[tuple[list[Line], Placing]] = deque()

    async def begin(self) -> None:
        """Ask the server what it takes; raise InvalidArgument if the journal is of another one."""
        self._stats = await self._client.stats()
        if self._resumption is not None:
            self._resumption.check_server(self._stats)
            if not self._dry_run:
                self._resumption.use_server(self._stats)

    async def take(self, line: bytes | str) -> None:
        """Take the next line; put what was gathered when that is enough for one go."""
        self._number += 1
        data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
        data = data.strip(b" \t\r\n")
        if not data:
            return
        checksum = 0
        if self._resumption is not None:
            checksum = checksum_of(data, self._number)
            if self._resumption.is_done(self._number, checksum):
                self.summary.skipped["imported before"] += 1
                return
            if self._resumption.pending and self._number > self._resumption.last_line:
                await self._look_for_doubtful()
        try:
            job = decode(data, self._tube)
            self._check_size(job)
        except InvalidArgument as error:
            self._last_sent = self._number
            self._refuse(self._number, str(error))
            return
        found = Line(self._number, checksum, job)
        if self._resumption is None or not self._resumption.is_in_doubt(found):
            await self._gather(found)

    async def flush(self) -> None:
        """Put what was gathered, without waiting for more lines."""
        while len(self._under_way) >= AT_ONCE:
            await self._finish_oldest()
        batch = self._batch
        if not batch or self._refused_by_server:
            return
        if self._dry_run:
            self._count(batch)
            self._report()
        else:
            if self._resumption is not None:
                self._resumption.journal.begin([line.number for line in batch])
            self._under_way.append((batch, self._target.put([line.job for line in batch])))
        self._last_sent = max(self._last_sent, batch[-1].number)
        self._batch, self._size = [], 0

    async def end(self) -> None:
        """Put what was gathered; wait for all that is under way."""
        if self._resumption is not None and self._resumption.pending and not self.stopped:
            await self._look_for_doubtful()
        await self.flush()
        await self.settle()

    async def settle(self) -> None:
        """Wait for what is under way, and put no more; may be called again after it was cancelled.

        Raises ConnectionLost, once it is known what became of all jobs.
        """
        unsent, self._batch = self._batch, []
        lost: BaseException | None = None
        while self._under_way:
            try:
                await self._finish_oldest()
            except (BeanstalkException, OSError) as error:
                lost = error  # the others were put all the same, or not
        if not self._settled:
            self._settled = True
            self._note_end(bool(unsent) or self.stopped)
        if lost is not None:
            raise lost

    def _note_end(self, early: bool) -> None:
        if early:
            self.summary.notes.append(f"no line after line {self._last_sent} was put")
        if self._were_reserved:
            self.summary.notes.append(
                f"{self._were_reserved:,} were reserved when they were exported, and are ready now"
            )
        self._report(at_end=True)

    # --- one step -----------------------------------------------------------------------------

    def _check_size(self, job: PortableJob) -> None:
        limit = self._stats.get("max-job-size")
        if limit is not None and len(job.body) > limit:
            raise InvalidArgument(
                f"body: it has {len(job.body):,} bytes, and the server takes {limit:,} at the "
                "most (beanstalkd -z)"
            )

    async def _gather(self, line: Line) -> None:
        size = len(line.job.body)
        if self._batch and self._size + size > BATCH_SIZE:
            await self.flush()
            if self.stopped:
                return
        self._batch.append(line)
        self._size += size
        if len(self._batch) >= self._limit:
            self._limit = BATCH
            await self.flush()

    async def _look_for_doubtful(self) -> None:
        """Find out which lines that were under way are in the server; put the others."""
        assert self._resumption is not None
        if self._dry_run:
            self._resumption.pending = False
            return
        done, missing = await self._resumption.look(self._target)
        if done:
            self._count(done)
            self.summary.notes.append(
                f"{len(done):,} that were under way when the last import ended were found in the "
                "server"
            )
        if missing:
            self.summary.notes.append(
                f"{len(missing):,} that were under way when the last import ended were not found "
                "in the server and were put, for the second time if a worker has taken them since"
            )
        for line in missing:
            await self._gather(line)

    async def _finish_oldest(self) -> None:
        batch, placing = self._under_way[0]
        outcomes = await placing.finish()
        self._under_way.popleft()
        done: list[Line] = []
        refused: list[tuple[int, str]] = []
        lost: BeanstalkException | None = None
        ids: list[int] = []
        for line, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, int):
                done.append(line)
                ids.append(outcome)
            elif isinstance(outcome, (ConnectionLost, UnexpectedResponse)):
                lost = lost or outcome
                self.summary.unknown += getattr(outcome, "sent", True)
            else:
                refused.append((line.number, str(outcome)))
        self._count(done)
        if self._resumption is not None:
            self._resumption.journal.end(
                [line.number for line in done],
                [number for number, _ in refused],
                sum(line.checksum for line in done),
                ids,
            )
        for number, reason in refused:
            self._refuse(number, reason)
        self._refused_by_server = self.stopped and (self._refused_by_server or bool(refused))
        self._report()
        if lost is not None:
            raise lost

    def _count(self, lines: list[Line]) -> None:
        summary = self.summary
        summary.done += len(lines)
        for line in lines:
            summary.tubes[line.job.tube] += 1
            if line.job.state == "reserved":
                self._were_reserved += 1
                summary.states["ready"] += 1
            else:
                summary.states[line.job.state] += 1

    def _refuse(self, number: int, reason: str) -> None:
        self.summary.fail(number, reason)
        if self._on_error == "stop":
            self.stopped = True

    def _report(self, at_end: bool = False) -> None:
        now = time.monotonic()
        self.summary.seconds = now - self._began
        if self._progress is not None and (at_end or now - self._told >= PROGRESS_INTERVAL):
            self._told = now
            done = self.summary.done
            self._progress(
                Progress("jobs put", done, done if at_end else None, self.summary.seconds, done)
            )
