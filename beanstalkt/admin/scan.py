"""The scan: looks at the ids of a server one after another, and moves no job."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..client.bulk import MISSING, Bulk, raise_lost
from ..client.client import Client
from ..errors import BeanstalkException, InvalidArgument, UnexpectedResponse
from ..protocol.commands import PEEK, STATS_JOB
from ..protocol.results import parsed
from .extent import Extent
from .pattern_search import PatternSearch
from .progress import OnProgress, Progress
from .record import INCOMPLETE, JobRecord, read_record
from .selection import Selection

LOOKS = 256
"""Ids that are asked for in one go. Two times as many are under way at the most, so that the
commands of other users of the client wait for some milliseconds, and of other clients less."""

MARGIN = 10_000
"""Ids to look at above the highest one that is known, where the server does not tell how far its
ids go."""

MAX_STEP = 1_000_000
"""Ids to look at before the server is asked again how many jobs it has, where some are missing."""

BODIES = 256
"""Bodies that are asked for in one go at the most."""

BODIES_SIZE = 2**19
"""Bytes of bodies to ask for in one go, as far as the size of earlier ones tells."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress."""

INEXACT = (
    "the server does not tell how far its ids go, since it has restored jobs from a binlog: "
    "looked on from the highest job that was found"
)
"""What is to be told of a scan that came to its end where the server does not tell it."""

LOOK = replace(STATS_JOB, read=parsed(read_record))
"""The command stats-job, with a record for its result."""

BODY = replace(PEEK, read=lambda words, data: data)
"""The command peek, with a body for its result."""

Chunk = tuple[Sequence[Any], "asyncio.Future[list[Any]]"]
"""What was asked for, and what will become of it."""


class Scan:
    """Yield the records of the jobs that a selection is about, in the order of their ids.

    It asks for each id from the first to the last one that the server had given when the scan
    began, so jobs that were put since are not in it, or not all of them. It ends before that when
    it has found as many jobs as the tubes hold. A record is what was seen at one moment: the
    job may have changed, or be gone, when it is yielded.

    The iteration raises ConnectionLost when the connection is lost: then the ids may begin again;
    and PatternTooSlow when the selection's pattern takes more than 5 s on one body.

    :param bodies: whether the records are to have bodies
    :param limit: the number of records after which it ends; None: no limit
    :param progress: called with the progress, some times a second
    :param search: searches for the selection's pattern; None: one of its own does
    """

    def __init__(
        self,
        client: Client,
        selection: Selection,
        *,
        bodies: bool = False,
        limit: int | None = None,
        progress: OnProgress | None = None,
        search: PatternSearch | None = None,
    ) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise InvalidArgument(f"limit must be a whole number, 0 or more, not {limit!r}")
        #: how many ids were looked at
        self.looked_at = 0
        #: how many jobs were seen in the tubes of the selection
        self.seen = 0
        #: how many jobs matched
        self.matched = 0
        #: how many of them were gone before their bodies were read
        self.vanished = 0
        #: whether the server tells how far its ids go; otherwise the end was found by looking
        self.exact = False
        #: whether it came to the end: neither a limit nor an error ended it before
        self.complete = False
        #: jobs that were put while it looked, as far as the server counts them; known at the end
        self.put_since = 0
        #: ids of jobs that the server had not received whole
        self.incomplete: list[int] = []
        #: the highest id of a job that it has seen; 0 if there was none
        self.highest_seen = 0
        #: seconds since it began
        self.seconds = 0.0
        self._client = client
        self._selection = selection
        self._needs_bodies = bodies or selection.needs_body
        self._left = limit  # records that are still to be yielded
        self._progress = progress
        self._own_search: PatternSearch | None = None
        if search is None and selection.pattern is not None:
            search = self._own_search = PatternSearch(selection.pattern)
        self._search = search
        self._told = 0.0  # when progress was reported last
        self._began: float | None = None
        self._extent = Extent(client, selection.tubes)
        self._bulk: Bulk | None = None
        self._next = selection.since_id  # the next id to ask for
        self._last: int | None = None  # the last one, as far as it is known now
        self._settled = False  # no id after that one is to be asked for
        self._step = MARGIN  # ids to look at next above the highest one that is known
        self._looks: deque[Chunk] = deque()
        self._wanted: deque[JobRecord] = deque()  # their bodies are to be asked for
        self._peeks: deque[Chunk] = deque()
        self._peek_count = 1
        self._body_size = 0.0  # of the largest of the latest bodies
        self._found: deque[JobRecord] = deque()

    @property
    def range(self) -> tuple[int, int] | None:
        """The first and the last id that were looked at; None before any was."""
        if not self.looked_at:
            return None
        first = self._selection.since_id
        return first, first + self.looked_at - 1

    @property
    def limited(self) -> bool:
        """Whether it ended at its limit."""
        return self._left == 0

    @property
    def notes(self) -> list[str]:
        """What is to be told of it besides its numbers, in sentences."""
        return [INEXACT] if self.complete and not self.exact and self.looked_at else []

    @property
    def bulk(self) -> Bulk:
        """The connection that it looks over; what it has found may be changed on no other."""
        if self._bulk is None:
            raise InvalidArgument("the scan has not begun")
        return self._bulk

    @property
    def selection(self) -> Selection:
        """The selection that the records match."""
        return self._selection

    def __aiter__(self) -> Scan:
        return self

    async def __anext__(self) -> JobRecord:
        try:
            return await self._record()
        except BaseException:
            if self._own_search is not None:
                self._own_search.close()
            raise

    async def _record(self) -> JobRecord:
        """Return the next record. Raises StopAsyncIteration."""
        while self._left != 0:
            if self._found:
                if self._left is not None:
                    self._left -= 1
                self.matched += 1
                return self._found.popleft()
            if not await self._advance():
                self.complete = True
                break
        self._report(at_end=True)
        raise StopAsyncIteration

    # --- one step -----------------------------------------------------------------------------

    async def _advance(self) -> bool:
        """Wait for what was asked for first, and ask for more; return False at the end."""
        if self._bulk is None:
            await self._begin()
        self._ask_for_ids()
        self._ask_for_bodies()
        if self._looks and len(self._wanted) < BODIES:
            ids, found = await _answered(self._looks)
            self._take_records(ids, found)
            await self._check_whether_all_seen()
        elif self._peeks:
            records, found = await _answered(self._peeks)
            await self._take_bodies(records, found)
        else:
            return await self._go_on()
        return True

    async def _begin(self) -> None:
        self._began = time.monotonic()
        bulk = Bulk(self._client)
        until = self._selection.until_id
        narrow = until is not None and until - self._selection.since_id < MARGIN
        await self._extent.look(heads=not narrow)
        self._bulk = bulk
        self._peek_count = max(1, min(16, 2**22 // max(1, self._extent.max_job_size)))
        self.exact = self._extent.highest is not None
        if self._extent.highest is not None:
            self._last = self._extent.highest
            self._settled = True
        else:
            self._last = self._extent.known + self._step
        if until is not None and (until <= self._last or (narrow and not self.exact)):
            self._last, self._settled = until, True
        if not self._extent.jobs:
            self._last, self._settled = 0, True

    def _ask_for_ids(self) -> None:
        assert self._bulk is not None
        assert self._last is not None
        while len(self._looks) < 2 and self._next <= self._last:
            ids = range(self._next, min(self._next + LOOKS, self._last + 1))
            self._next = ids.stop
            self._looks.append(
                (ids, self._bulk.send(LOOK, [b"stats-job %d\r\n" % i for i in ids]))
            )

    def _ask_for_bodies(self) -> None:
        assert self._bulk is not None
        if self._left is not None:  # no more than those that will be yielded
            while not self._selection.needs_body and len(self._wanted) > self._left:
                self._wanted.pop()
        while self._wanted and len(self._peeks) < 2:
            count = min(self._peek_count, len(self._wanted))
            records = [self._wanted.popleft() for _ in range(count)]
            peeks = [b"peek %d\r\n" % record.id for record in records]
            self._peeks.append((records, self._bulk.send(BODY, peeks)))

    def _take_records(self, ids: Sequence[int], found: list[Any]) -> None:
        tubes = self._selection.tubes
        matches = self._selection.matches_stats
        chosen = self._wanted if self._needs_bodies else self._found
        for job_id, record in zip(ids, found, strict=True):
            if record is MISSING:
                continue
            if isinstance(record, BeanstalkException):
                raise record
            if record.id != job_id:  # what comes next may be to delete it
                raise UnexpectedResponse(
                    f"the server sent the statistics of job {record.id} for those of job {job_id}",
                    command="stats-job",
                )
            if record.state == INCOMPLETE:
                self.incomplete.append(record.id)
                continue
            self.highest_seen = record.id
            if not tubes or record.tube in tubes:
                self.seen += 1
                if matches(record):
                    chosen.append(record)
        self.looked_at += len(ids)
        self._report()

    async def _take_bodies(self, records: Sequence[JobRecord], found: list[Any]) -> None:
        largest = 0
        read: list[JobRecord] = []
        for record, body in zip(records, found, strict=True):
            if body is MISSING:
                self.vanished += 1
            elif isinstance(body, BeanstalkException):
                raise body
            else:
                largest = max(largest, len(body))
                if self._selection.matches_text(body):
                    record.body = body
                    read.append(record)
        self._body_size = max(largest, self._body_size * 0.9, 1)
        fitting = int(BODIES_SIZE / self._body_size)
        self._peek_count = max(1, min(fitting, 2 * self._peek_count, BODIES))
        if self._search is not None and read:
            matches = await self._search.search(read)
            read = [record for record, match in zip(read, matches, strict=True) if match]
        self._found += read

    # --- the end ------------------------------------------------------------------------------

    @property
    def _counts(self) -> bool:
        """Whether the number of jobs in the tubes tells when all were seen."""
        return self._selection.since_id <= 1

    async def _check_whether_all_seen(self) -> None:
        """End the scan early if it has seen as many jobs as there are.

        What comes first has the lower id, so of the jobs that were there at the beginning none
        is left then: at the most, some that came later were counted in their stead.
        """
        if not self._counts or self._all_asked or self.seen < self._extent.jobs:
            return
        if self.seen + len(self.incomplete) >= await self._extent.count():
            self._last, self._settled = self._next - 1, True

    @property
    def _all_asked(self) -> bool:
        return self._settled and self._last is not None and self._next > self._last

    async def _go_on(self) -> bool:
        """Look further, if there may be more jobs; return whether there may."""
        if self._settled:
            jobs = await self._extent.count() if self.exact and self._counts else 0
            self.put_since = (await self._client.stats()).get("cmd-put", 0) - self._extent.puts
            found = self.seen + len(self.incomplete) + self.put_since
            if jobs <= found or self._last != self._extent.highest:
                return False
            # The ids go further than the statistics told.
            self.exact = self._extent.trusted = self._settled = False
        await self._extent.look()
        known = max(self._extent.known, self.highest_seen)
        # The number of jobs is believed where the server is known to have restored some; else a
        # wrong one would keep this going for ever.
        believed = self._counts and self._extent.trusted
        missing = believed and self._extent.jobs > self.seen + len(self.incomplete)
        assert self._last is not None
        if missing:
            known = max(known, self._last)
            self._step = min(2 * self._step, MAX_STEP)
        self._last = max(self._last, known + self._step)
        until = self._selection.until_id
        if until is not None and until <= self._last:
            self._last, self._settled = until, True
        elif self._next > self._last:
            self._settled = True
        return True

    def _report(self, at_end: bool = False) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self.seconds = now - self._began
        if self._progress is None or not (at_end or now - self._told >= PROGRESS_INTERVAL):
            return
        self._told = now
        total = None
        if self.complete:
            total = self.looked_at
        elif self._last is not None:
            total = max(0, self._last - self._selection.since_id + 1)
        self._progress(
            Progress(
                "ids looked at", self.looked_at, total, self.seconds, self.seen, not self._settled
            )
        )


async def _answered(chunks: deque[Chunk]) -> tuple[Sequence[Any], list[Any]]:
    """Wait for the first chunk, and take it out; raise ConnectionLost."""
    # Shielded: whoever is cancelled here may call again, and finds the chunk where it was.
    asked, future = chunks[0]
    found = await asyncio.shield(future)
    chunks.popleft()
    raise_lost(found)
    return asked, found
