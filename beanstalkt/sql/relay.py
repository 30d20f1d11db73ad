"""The relay: claims rows of the outbox, puts their jobs, and marks the rows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import InvalidArgument
from ..protocol.arguments import MAX_NUMBER
from .database import describe, is_temporary
from .database_thread import DatabaseThread
from .outbox import CLAIM_SECONDS, Outbox, Settled, storable
from .putting import Batch, Putter, Server
from .rows import Put, QueuedJob, put_of

T = TypeVar("T")

log = logging.getLogger("beanstalkt.outbox")

BATCH = 500
"""Rows that are put and not yet marked at most."""

Claim = tuple[Sequence[QueuedJob], float]
"""Rows that were claimed, and a time on the monotonic clock before which they were not."""


@dataclass(frozen=True)
class RelayTiming:
    """Say how long a relay waits for what: intervals in seconds.

    :ivar poll: after which the table is looked at again for the first time when it was empty
    :ivar max_poll: up to which that grows, doubling
    :ivar expired_interval: between two looks for claims that have lasted too long
    :ivar back_off: after a server that takes no jobs, for the first time
    :ivar max_back_off: up to which that grows, doubling
    :ivar retry: after an error of the database, for the first time
    :ivar max_retry: up to which that grows, doubling
    :ivar stop_timeout: for the database, after the relay was stopped
    :ivar report_interval: between two messages about the same trouble
    """

    poll: float = 0.05
    max_poll: float = 1.0
    expired_interval: float = 5.0
    back_off: float = 1.0
    max_back_off: float = 30.0
    retry: float = 0.05
    max_retry: float = 2.0
    stop_timeout: float = 5.0
    report_interval: float = 60.0


class Relay:
    """Put the rows of an outbox into a server, a batch after another.

    A row is put at least once. Between the put and its mark in the database the relay may be
    killed; then one batch at most is put again, with the same ids of rows.

    :param server: a client, connected; it may lose its connection and have it again
    :param server_name: what the database calls it
    :param tube: of rows that name none
    :param plain: put payloads as they are, without the id of the row before them
    :param batch: rows that are put and not yet marked at most. Half of them are claimed at a
        time: while their jobs are put, the database marks the other half and claims the next
    :param on_doubt: ``again`` puts a row again when it is not known whether it was put; ``park``
        gives it the state ``in doubt``
    :param burst: end when no row is new
    """

    def __init__(
        self,
        outbox: Outbox,
        server: Server,
        server_name: str,
        *,
        tube: str = "default",
        plain: bool = False,
        batch: int = BATCH,
        on_doubt: str = "again",
        burst: bool = False,
        timing: RelayTiming | None = None,
    ) -> None:
        self._outbox = outbox
        self._server = server
        self._putter = Putter(server, server_name, doubtful_state(on_doubt))
        self._tube = tube
        self._plain = plain
        self._batch = batch
        self._limit = max(batch // 2, 1)  # while these are put, as many are being marked
        self._burst = burst
        self._timing = timing or RelayTiming()
        self._stopped_at: float | None = None
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()  # set by `stop`
        self._next_expired = 0.0
        self._ahead: deque[asyncio.Future[Claim]] = deque()  # claims that are not put yet
        self._over = threading.Event()  # the database is not asked again
        #: what the relay waits for at the moment, in a few words; empty: for nothing
        self.waits_for = ""
        self._reports: dict[str, float] = {}  # when the next message about a trouble is due
        #: how many rows went to each state
        self.counts: Counter[str] = Counter()
        self._thread = DatabaseThread("outbox")

    # --- control ---

    def stop(self) -> None:
        """Claim no more rows; mark those that are put, and end."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
        self._ended.set()
        self._woken.set()

    def hurry(self) -> None:
        """Stop, and do not wait any longer for a database that does not answer at once."""
        self.stop()
        self._stopped_at = -math.inf

    def wake(self) -> None:
        """Look at the table now, if the relay is waiting."""
        self._woken.set()

    @property
    def _stopping(self) -> bool:
        return self._stopped_at is not None

    # --- the loop ---

    async def run(self) -> None:
        """Relay until `stop` is called, or in a burst until no row is new.

        Raises sqlalchemy.exc.SQLAlchemyError for an error of the database that waiting does not
        cure, such as a table that is missing.
        """
        try:
            await self._take_back()
            await self._relay()
        finally:
            self._over.set()
            for claim in self._ahead:
                claim.cancel()
            closing = self._thread.call(self._outbox.database.close)
            self._thread.close()
            await asyncio.wait([closing], timeout=1.0)

    async def _take_back(self) -> None:
        count = await self._bounded(self._database(self._outbox.take_back_own))
        if count:
            log.warning("%d rows were claimed by an earlier process of this relay", count)

    async def _relay(self) -> None:
        poll, back_off = self._timing.poll, self._timing.back_off
        while True:
            if not self._ahead:
                if self._putter.max_size is None and not self._stopping:
                    with self._waiting_for("the server"):
                        await self._putter.learn()
                self._exchange()
            rows, claimed = await self._bounded(self._ahead.popleft())
            if len(rows) == self._limit and not self._ahead and self._batch > 1:
                self._exchange()  # there are likely to be more
            if rows:
                poll = self._timing.poll
                batch = await self._put(rows, claimed)
                if batch.refusal is None:
                    back_off = self._timing.back_off
                    self._exchange(batch.settled)
                    continue
                await self._give_back(batch)
                self._report("refused", "the server takes no jobs now: %s", batch.refusal)
                await self._wait(self._ended, back_off)
                back_off = min(2 * back_off, self._timing.max_back_off)
            elif not self._ahead:
                if self._stopping or (self._burst and not self._server.closed()):
                    return
                if self._server.closed():
                    self._report("away", "there is no connection to the server: no row is claimed")
                await self._wait(self._woken, poll)
                poll = min(2 * poll, self._timing.max_poll)

    @contextlib.contextmanager
    def _waiting_for(self, what: str) -> Iterator[None]:
        self.waits_for = what
        try:
            yield
        finally:
            self.waits_for = ""

    async def _give_back(self, batch: Batch) -> None:
        """Write what became of a batch that was refused, and end all other claims."""
        marked = self._database(self._settle, batch.settled)
        while self._ahead:
            rows, _ = await self._bounded(self._ahead.popleft())
            unclaimed = [(row.id, None, None) for row in rows]
            given_back = Settled("new", unclaimed, error=str(batch.refusal))
            await self._bounded(self._database(self._settle, [given_back]))
        await self._bounded(marked)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Sleep until the time is over or the event comes; the relay's stop is one in any case."""
        if not self._stopping:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)

    async def _put(self, rows: Sequence[QueuedJob], claimed: float) -> Batch:
        """Put the jobs of rows.

        :param claimed: when they were claimed, on the monotonic clock
        """
        max_size = self._putter.max_size or MAX_NUMBER
        puts: list[Put] = []
        failed: list[Settled] = []
        for row in rows:
            try:
                puts.append(put_of(row, self._tube, plain=self._plain, max_size=max_size))
            except InvalidArgument as error:
                event = f"refused-{time.time_ns():x}"
                # SQLite may have anything in it.
                tube = storable(row.tube) if isinstance(row.tube, str) else None
                refused = [(row.id, None, tube)]
                failed.append(Settled("failed", refused, error=str(error), event=event))
        if time.monotonic() - claimed > CLAIM_SECONDS / 2:
            # The process was stopped for a while: another relay may have the rows soon.
            late = "the relay was not running for too long after it had claimed this row"
            unput = [(put.row_id, None, put.tube) for put in puts]
            batch = Batch([Settled("new", unput, error=late)])
        else:
            with self._waiting_for(f"the server to answer for {len(puts)} jobs"):
                batch = await self._putter.put(puts) if puts else Batch()
        batch.settled += failed
        for each in batch.settled:
            what = {"failed": "cannot be put", "in doubt": "is in doubt"}.get(each.state)
            for row_id, _, _ in each.rows if what else ():
                log.warning("row %d %s: %s", row_id, what, each.error)
        return batch

    # --- the database ---

    def _exchange(self, settled: Sequence[Settled] = ()) -> None:
        """Have the database mark rows and, in the same transaction, claim the next ones."""
        self._woken.clear()  # before the look at the table: what comes later wakes again
        limit = 0 if self._stopping or self._server.closed() else self._limit
        self._ahead.append(self._database(self._claim, limit, settled))

    def _database(self, function: Callable[..., T], *values: Any) -> asyncio.Future[T]:
        """Have the thread of the database call a function."""
        return self._thread.call(self._persist, function, *values)

    async def _bounded(self, call: asyncio.Future[T]) -> T:
        """Return the result of a call; after the relay was stopped, wait only for a while."""
        while True:
            # It may hang, and the relay may be stopped meanwhile. Each call gets a second.
            with self._waiting_for("the database"):
                await asyncio.wait([call], timeout=1.0)
            if call.done():
                return call.result()
            if self._out_of_time():
                raise TimeoutError("the database did not answer in time, after the relay's stop")

    # --- in the thread of the database ---

    def _persist(self, function: Callable[..., T], *values: Any) -> T:
        """Call a function, again while it may work later. What waits behind it keeps its order."""
        delay = self._timing.retry
        while True:
            try:
                return function(*values)
            except Exception as error:
                if not is_temporary(error) or self._out_of_time():
                    raise
                self._report("database", "the database: %s", describe(error))
                if self._over.wait(delay):
                    raise
            delay = min(2 * delay, self._timing.max_retry)

    def _claim(self, limit: int, settled: Sequence[Settled]) -> Claim:
        """Write what became of rows, and claim others."""
        if not limit and not settled:
            return [], 0.0
        now = time.monotonic()
        max_size = self._putter.max_size or MAX_NUMBER
        expired = now >= self._next_expired and limit > 0
        try:
            rows = self._outbox.claim(limit, max_size=max_size, expired=expired, settled=settled)
        except Exception as error:
            if settled and not is_temporary(error):
                self._settle(settled)  # else they would be put again
            raise
        if expired:
            self._next_expired = now + self._timing.expired_interval
        self._count(settled)
        return rows, now

    def _settle(self, settled: Sequence[Settled]) -> None:
        """Write what became of rows."""
        if settled:
            self._outbox.settle(settled)
            self._count(settled)

    def _count(self, settled: Sequence[Settled]) -> None:
        for each in settled:
            self.counts[each.state] += len(each.rows)

    def _out_of_time(self) -> bool:
        if self._stopped_at is None:
            return False
        return time.monotonic() - self._stopped_at > self._timing.stop_timeout

    def _report(self, kind: str, message: str, *values: object) -> None:
        """Log a warning, unless the same kind of trouble was reported lately."""
        now = time.monotonic()
        if now >= self._reports.get(kind, 0.0):
            self._reports[kind] = now + self._timing.report_interval
            log.warning(message, *values)


def doubtful_state(on_doubt: str) -> str:
    """Return the state of a row of which it is not known whether it was put."""
    try:
        return {"again": "new", "park": "in doubt"}[on_doubt]
    except KeyError:
        raise InvalidArgument(f"on_doubt must be again or park, not {on_doubt!r}") from None
