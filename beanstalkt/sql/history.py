"""The history: an observer of a runner that writes into a database what becomes of its jobs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from ..worker.events import Event, HistoryDropped, JobFinished, JobStarted
from . import statements
from .database import Database, concerns_values, describe, is_temporary
from .history_rows import rows_of

log = logging.getLogger("beanstalkt.worker")

QUEUE_LIMIT = 10_000
"""Events that wait for the database at most; those that come then are dropped."""

BATCH = 500
"""Events of a transaction at most."""

INTERVAL = 0.2
"""Seconds that an event waits at most for others, to be written together with them."""

CLOSE_TIMEOUT = 5.0
"""Seconds for what is left when the history is closed."""

RETRY, MAX_RETRY = 0.1, 2.0
"""Seconds before a transaction that failed is repeated: at first, and at most."""

DROPPED_INTERVAL = 10.0
"""Seconds between two reports that events were dropped."""

REPORT_INTERVAL = 60.0
"""Seconds between two messages about the database."""


class _Queue:
    """Hold the events that wait for the database, each with the time at which it happened.

    Apart from the events it holds nothing that Python's garbage collector looks at again and
    again, such as a tuple for each. One thread adds and another one takes, without a lock.
    """

    def __init__(self) -> None:
        self.times: deque[float] = deque()  # on the monotonic clock
        self.events: deque[JobStarted | JobFinished] = deque()

    def take(self) -> tuple[float, JobStarted | JobFinished]:
        """Take the oldest event."""
        event = self.events.popleft()
        return self.times.popleft(), event


class History:
    """Write what becomes of jobs into the tables of an outbox, as an observer of a runner.

    ::

        async with History("postgresql://localhost/app") as history:
            await Worker(server, tube, handler, observers=[history]).run()

    No job ever waits for the database: events go into a bounded queue, which a thread of its own
    empties. While the database is slow, full or gone, the thread tries again; what finds the
    queue full is dropped, and counted. Closing waits for what is left, 5 s at the most.

    :param url: of the database, see `Database`. It need not be there yet
    :ivar publish: is given a `HistoryDropped` when events were dropped; the runner's observers
        should get it

    Raises InvalidArgument for what is no URL of a database, and MissingDriver.
    """

    #: the events that are written
    events = frozenset({JobStarted, JobFinished})
    #: has the runner ask each server for its id
    wants_server_run = True

    def __init__(self, url: str) -> None:
        self.publish: Callable[[HistoryDropped], object] = _log_dropped
        self._queue = _Queue()
        self._writer = _Writer(Database(url), self._queue)
        self._closed = False
        self._full = 0  # events that found the queue full, or the history closed
        self._told = 0  # events that were dropped, when that was last published
        self._next_report = 0.0

    @property
    def dropped(self) -> int:
        """Return how many events were dropped so far."""
        return self._full + self._writer.dropped

    @property
    def written(self) -> int:
        """Return how many events were written so far."""
        return self._writer.written

    def __call__(self, event: Event) -> None:
        """Queue an event, or drop it if the queue is full. Never waits."""
        # Two of these calls for each job are all that the event loop has to do for a history.
        if not isinstance(event, (JobStarted, JobFinished)):
            return
        events = self._queue.events
        length = len(events)
        if length >= QUEUE_LIMIT or self._closed:
            self._full += 1
        else:
            self._queue.times.append(time.monotonic())  # first: an event that is seen has its time
            events.append(event)
            if self._writer.idle or length == BATCH:
                self._writer.wake()
        if self._full + self._writer.dropped != self._told:
            self._report()

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if now >= self._next_report or last:
            self._next_report = now + DROPPED_INTERVAL
            count, self._told = self.dropped - self._told, self.dropped
            self.publish(HistoryDropped(count, self._writer.trouble))

    async def __aenter__(self) -> History:
        self._writer.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Write what is left, and end the thread.

        :param timeout: seconds, after which what is left is dropped

        When this is cancelled, what is left is dropped as well.
        """
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        self._writer.close(deadline)
        try:
            while self._writer.running and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        finally:
            self._writer.abandon()
            if self.dropped > self._told:
                self._report(last=True)


class _Writer:
    """The thread that empties the queue into the database.

    :ivar idle: whether the thread sleeps until it is woken
    :ivar dropped: events that the database refused, or that were left at the end
    :ivar trouble: what the database said last, in one line; empty while all is well
    """

    def __init__(self, database: Database, queue: _Queue) -> None:
        self.idle = False
        self.dropped = 0
        self.written = 0
        self.trouble = ""
        self._database = database
        self._queue = queue
        self._run = ""  # what the ids of events begin with
        self._number = 0  # of the last event that was taken from the queue
        self._batch: list[tuple[int, float, JobStarted | JobFinished]] = []
        self._woken = threading.Event()
        self._deadline: float | None = None  # on the monotonic clock, once it is closed
        self._next_report = 0.0
        self._thread: threading.Thread | None = None

    # --- in the loop's thread ---

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        # Not before: the process may have been forked meanwhile. Each must have ids of its own,
        # and Python takes all threads that were made before a fork to have ended.
        self._run = uuid.uuid4().hex[:16]
        # A daemon: a database that never answers must not keep the process.
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look at the queue."""
        self.idle = False
        self._woken.set()

    def close(self, deadline: float) -> None:
        """Have the thread end after what is queued."""
        self._deadline = deadline
        self._woken.set()

    def abandon(self) -> None:
        """Count what the thread has not written. If it hangs, it is left to itself."""
        if self.running:
            self.trouble = self.trouble or "it does not answer"
            self.dropped += len(self._batch)
        self.dropped += len(self._queue.events)
        self._queue.events.clear()

    # --- in the thread ---

    def _work(self) -> None:
        while self._wait():
            while len(self._batch) < BATCH and self._queue.events:
                self._number += 1
                self._batch.append((self._number, *self._queue.take()))
            self._write_batch()
        self._database.close()

    def _wait(self) -> bool:
        """Wait for a batch of events; return whether there is one, or else the thread is to end.

        One is complete with `BATCH` events, or `INTERVAL` after its first one.
        """
        while True:
            closed = self._deadline is not None  # before the look: what was queued first is seen
            if self._queue.events:
                break
            if closed:
                return False
            self._woken.clear()
            self.idle = True  # from here on each event wakes the thread
            if not self._queue.events and self._deadline is None:
                self._woken.wait()
            self.idle = False
        if len(self._queue.events) < BATCH and self._deadline is None:
            self._woken.clear()
            self._woken.wait(INTERVAL)
        return True

    def _write_batch(self) -> None:
        """Write the batch, however often the database has to be asked.

        If it refuses a value, it is asked for fewer and fewer events, so that one costs no other.
        """
        delay = RETRY
        again = refused = False
        size = len(self._batch)  # of the part that is written next
        while part := self._batch[:size]:
            try:
                self._write(part, again)
            except Exception as error:
                again = True
                self.trouble = describe(error)
                if is_temporary(error):
                    if not self._wait_for_database(delay):
                        return
                    delay = min(2 * delay, MAX_RETRY)
                    continue
                if len(part) > 1 and concerns_values(error):
                    size = len(part) // 2
                    continue
                refused = True
                self._report(f"{len(part)} events cannot be written")
                self.dropped += len(part)
            else:
                self.written += len(part)
                size *= 2
                if not refused:
                    self.trouble = ""
            del self._batch[: len(part)]
            delay = RETRY

    def _wait_for_database(self, delay: float) -> bool:
        """Pause before the database is asked again; return False if there is no time left to ask.

        Then the batch is dropped.
        """
        self._report("the database does not take events now")
        if self._deadline is not None and time.monotonic() + delay > self._deadline:
            self.dropped += len(self._batch)
            self._batch = []
            return False
        self._pause(delay)
        return True

    def _pause(self, seconds: float) -> None:
        if self._deadline is not None:
            time.sleep(min(seconds, RETRY))
            return
        until = time.monotonic() + seconds
        while self._deadline is None and (left := until - time.monotonic()) > 0:
            self._woken.clear()
            self._woken.wait(left)

    def _write(
        self, events: Sequence[tuple[int, float, JobStarted | JobFinished]], again: bool
    ) -> None:
        # A transaction that failed may have been carried out, if only the answer was lost.
        rows = rows_of(events, self._run, time.monotonic())
        dialect = self._database.dialect
        with self._database.transaction() as connection:
            logged = dialect.parameters(statements.EVENT, rows.log)
            connection.execute(statements.log_events(dialect, again), logged)
            if rows.changes:
                changes = dialect.parameters(statements.CHANGE, rows.changed())
                connection.execute(statements.change(dialect), changes)

    def _report(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            log.warning("the history: %s: %s", what, self.trouble)


def _log_dropped(event: HistoryDropped) -> None:
    reason = event.reason or "the database is too slow"
    log.warning("the history: %d events were dropped: %s", event.count, reason)
