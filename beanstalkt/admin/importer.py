"""The importer: puts the jobs of lines into one server, with all that they had."""

from __future__ import annotations

import time
from collections import deque

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

BATCH = 256
"""Jobs that are put in one go at the most."""

BATCH_SIZE = 2**18
"""Bytes of bodies that are put in one go, unless a single body is longer."""

AT_ONCE = 2
"""Batches that are under way."""


class Importer:
    """Put the jobs of lines as they were; `import_jobs` tells what the arguments mean.

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
        self._target: Target  # which begin() makes, since it needs a connection
        self._resumption = None if journal is None else Resumption(client, journal)
        self._stats: Stats  # since begin()
        self._number = 0  # of the last line
        self._last_sent = 0  # the number of the last line whose job was put, or refused
        self._were_reserved = 0
        self._batch: list[Line] = []
        self._size = 0  # bytes of bodies in the batch
        # The first id tells where to look for the jobs of later lines, if it comes to that.
        self._limit = 1 if journal is not None and not journal.last_id else BATCH
        self._under_way: deque[tuple[list[Line], Placing]] = deque()
        self._unsent: list[Line] = []  # that the connection was lost before

    async def begin(self) -> None:
        """Ask the server what it takes; raise InvalidArgument if the journal is of another one."""
        self._target = Target(self._client)
        self._stats = await self._client.stats()
        if self._resumption is not None:
            self._resumption.check_server(self._stats)
            if not self._dry_run:
                self._resumption.use_server(self._stats)

    async def take(self, line: bytes | str) -> None:
        """Take the next line; put what was gathered when that is enough for one go."""
        self._number += 1
        if data := stripped(line):
            await self.take_as(self._number, data)

    async def take_as(self, number: int, data: bytes, job: PortableJob | None = None) -> None:
        """Take the line that has this number, which is higher than that of any line before.

        :param data: the line, which is not empty
        :param job: what it stands for, if that is known already
        """
        self._number = number
        checksum = 0
        if self._resumption is not None:
            checksum = checksum_of(data, self._number)
            if self._resumption.is_done(self._number, checksum):
                self.summary.skipped["imported before"] += 1
                return
            if self._resumption.pending and self._number > self._resumption.last_line:
                await self._look_for_doubtful()
        try:
            if job is None:
                job = decode(data, self._tube)
            self._check_size(job)
        except InvalidArgument as error:
            self._last_sent = self._number
            self.refuse(self._number, str(error))
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
        early = bool(self._batch) or self.stopped
        self._unsent += self._batch
        self._batch = []
        lost: BaseException | None = None
        while self._under_way:
            try:
                await self._finish_oldest()
            except (BeanstalkException, OSError) as error:
                lost = error  # the others were put all the same, or not
        if not self._settled:
            self._settled = True
            self._note_end(early)
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
                if getattr(outcome, "sent", True):
                    self.summary.unknown += 1
                else:
                    self._unsent.append(line)
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
            self.refuse(number, reason)
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

    @property
    def draining(self) -> bool:
        """Whether the server took no new jobs when the import began."""
        return bool(self._stats.get("draining"))

    def knows(self, number: int) -> bool:
        """Return whether the journal tells of a line."""
        return self._resumption is not None and self._resumption.tells_of(number)

    def has_done(self, number: int) -> bool:
        """Return whether the journal tells that the job of a line was put."""
        return self._resumption is not None and number in self._resumption.journal.done

    def refuse_unsent(self, reason: str) -> list[int]:
        """Refuse the lines that were gathered and not sent; return their numbers."""
        unsent = self._unsent + self._batch
        self._unsent, self._batch, self._size = [], [], 0
        for line in unsent:
            self.refuse(line.number, reason)
        return [line.number for line in unsent]

    def refuse(self, number: int, reason: str) -> None:
        """Count a line as refused, and take no more if that is to stop the import."""
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


def stripped(line: bytes | str) -> bytes:
    """Return a line as bytes, without the white space around it."""
    data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    return data.strip(b" \t\r\n")
