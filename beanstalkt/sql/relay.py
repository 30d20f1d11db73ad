"""The relay: claims rows of the outbox, puts their jobs, and marks the rows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import BeanstalkException, InvalidArgument
from ..protocol.arguments import MAX_NUMBER
from .database import describe, is_temporary
from .database_thread import DatabaseThread
from .outbox import CLAIM_SECONDS, Outbox, Settled
from .putting import Batch, Putter, Server
from .rows import Put, QueuedJob, put_of

T = TypeVar("T")

log = logging.getLogger("beanstalkt.outbox")

BATCH = 500
"""Rows that are claimed at a time."""


@dataclass(frozen=True)
class RelayTiming:
    """Intervals in seconds.

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
    """Puts the rows of an outbox into a server, a batch after another.

    A row is put at least once. Between the put and its mark in the database the relay may be
    killed; then that one batch is put again, with the same ids of rows.

    :param server: a client, connected; it may lose its connection and have it again
    :param server_name: what the database calls it
    :param tube: of rows that name none
    :param plain: put payloads as they are, without the id of the row before them
    :param batch: rows that are claimed at a time
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
        self._limit = batch
        self._burst = burst
        self._timing = timing or RelayTiming()
        self._stopped_at: float | None = None
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()  # set by `stop`
        self._next_expired = 0.0
        self._held: tuple[int, ...] = ()  # rows that are being put and marked
        self._asked_server = ""  # what the server has not answered yet, in words
        self._asked_database = 0  # calls that the database has not answered yet
        self._ahead: asyncio.Future[tuple[list[QueuedJob], float]] | None = None
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

    @property
    def waits_for(self) -> str:
        """Return what the relay waits for at the moment, in a few words; empty: for nothing."""
        return self._asked_server or ("the database" if self._asked_database else "")

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
            if self._ahead is not None:
                self._ahead.cancel()
            closing = self._thread.call(self._outbox.database.close)
            self._thread.close()
            await asyncio.wait([closing], timeout=1.0)

    async def _take_back(self) -> None:
        count = await self._database(self._outbox.take_back_own)
        if count:
            log.warning("%d rows were claimed by an earlier process of this relay", count)

    async def _relay(self) -> None:
        poll, back_off = self._timing.poll, self._timing.back_off
        while True:
            if self._ahead is None:
                self._woken.clear()  # before the look at the table: what comes later wakes again
            rows, claimed = await (self._ahead or self._claim())
            self._ahead = None
            if rows:
                refusal = await self._relay_batch(rows, claimed)
                poll = self._timing.poll
                if refusal is None:
                    back_off = self._timing.back_off
                    continue
                self._report("refused", "the server takes no jobs now: %s", refusal)
                await self._wait(self._ended, back_off)
                back_off = min(2 * back_off, self._timing.max_back_off)
                continue
            if self._stopping or (self._burst and not self._server.closed()):
                return
            if self._server.closed():
                self._report("away", "there is no connection to the server: no row is claimed")
            await self._wait(self._woken, poll)
            poll = min(2 * poll, self._timing.max_poll)

    async def _relay_batch(
        self, rows: Sequence[QueuedJob], claimed: float
    ) -> BeanstalkException | None:
        """Put the jobs of rows, and settle the rows; return why the server takes no more jobs.

        Meanwhile the next rows are claimed, if there are likely to be any. They are not put before
        these are marked: so a kill doubles these at most.
        """
        self._held = tuple(row.id for row in rows)
        if len(rows) == self._limit:
            self._ahead = asyncio.ensure_future(self._claim())
        batch = await self._put(rows, claimed)
        await self._settle(batch.settled)
        self._held = ()
        if batch.refusal is not None and self._ahead is not None:
            (rows, _), self._ahead = await self._ahead, None
            reason = str(batch.refusal)
            await self._settle([Settled(row.id, "new", error=reason) for row in rows])
        return batch.refusal

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Sleep until the time is over or the event comes; the relay's stop is one in any case."""
        if not self._stopping:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)

    async def _claim(self) -> tuple[list[QueuedJob], float]:
        """Claim the next rows; return them, and a time before which they were not claimed."""
        now = time.monotonic()
        if self._stopping or self._server.closed():
            return [], now
        if self._putter.max_size is None:
            await self._learn()
            if self._stopping:
                return [], now
        max_size = self._putter.max_size or MAX_NUMBER
        expired = now >= self._next_expired
        if expired:
            self._next_expired = now + self._timing.expired_interval
        attempts = 0

        def claim() -> list[QueuedJob]:
            nonlocal attempts
            attempts += 1
            # The database may have carried out an attempt of which no answer came.
            held = None if attempts == 1 else self._held
            return self._outbox.claim(self._limit, max_size=max_size, expired=expired, held=held)

        return await self._database(claim), now

    async def _learn(self) -> None:
        """Ask the server what it takes."""
        self._asked_server = "the server"
        try:
            await self._putter.learn()
        finally:
            self._asked_server = ""

    async def _settle(self, settled: Sequence[Settled]) -> None:
        """Write what became of rows."""
        if not settled:
            return
        count = await self._database(self._outbox.settle, settled)
        self.counts.update(each.state for each in settled)
        if count < len(settled):
            log.warning(
                "%d rows were no longer claimed by this relay when they were marked, and may be "
                "put twice",
                len(settled) - count,
            )

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
                event_id = f"{row.id}-refused-{time.time_ns():x}"
                failed.append(Settled(row.id, "failed", error=str(error), event_id=event_id))
        if time.monotonic() - claimed > CLAIM_SECONDS / 2:
            # The process was stopped for a while: another relay may have the rows soon.
            late = "the relay was not running for too long after it had claimed this row"
            batch = Batch([Settled(put.row_id, "new", error=late) for put in puts])
        else:
            self._asked_server = f"the server to answer for {len(puts)} jobs"
            try:
                batch = await self._putter.put(puts) if puts else Batch()
            finally:
                self._asked_server = ""
        batch.settled += failed
        for each in batch.settled:
            if each.state == "failed":
                log.warning("row %d cannot be put: %s", each.id, each.error)
            elif each.state == "in doubt":
                log.warning("row %d is in doubt: %s", each.id, each.error)
        return batch

    # --- the database ---

    async def _database(self, function: Callable[..., T], *values: Any, **options: Any) -> T:
        """Call a function in the thread of the database, again while it may work later."""
        delay = self._timing.retry
        while True:
            call = self._thread.call(function, *values, **options)
            self._asked_database += 1
            try:
                return await self._bounded(call)
            except Exception as error:
                if not is_temporary(error) or self._out_of_time():
                    raise
                self._report("database", "the database: %s", describe(error))
            finally:
                self._asked_database -= 1
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._timing.max_retry)

    async def _bounded(self, call: asyncio.Future[T]) -> T:
        """Return the result of a call; after the relay was stopped, wait only for a while."""
        while True:
            # It may hang, and the relay may be stopped meanwhile. Each call gets a second.
            await asyncio.wait([call], timeout=1.0)
            if call.done():
                return call.result()
            if self._out_of_time():
                raise TimeoutError("the database did not answer in time, after the relay's stop")

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
