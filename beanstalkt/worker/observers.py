"""Hands the events of a runner to its observers, none of which can delay or break a job."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable

from .events import Event, Observer

QUEUE_LIMIT = 10_000
"""Events that wait for a blocking observer at most; it misses those that come then."""

SLOW_CALL = 0.1
"""Seconds that a call on the event loop may take before the observer is reported as slow."""

REPORT_INTERVAL = 60.0
"""Seconds between two reports about the same observer."""


class Observers:
    """Call every observer with every event, in the order in which they are published.

    An observer whose attribute ``blocking`` is true is called in a thread of its own, all others
    on the event loop. One with an attribute ``events`` gets only events of those types.

    When an observer raises an exception, misses events or takes longer than SLOW_CALL, the loop's
    exception handler is told, at most once in REPORT_INTERVAL for each observer, and the observer
    is called again for the next event.

    :param observers: in the order in which they are called
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._all: list[_Direct] = [
            _Thread(observer) if getattr(observer, "blocking", False) else _Direct(observer)
            for observer in observers
        ]
        self._by_type: dict[type[Event], list[_Direct]] = {}
        #: whether any observer has an attribute ``wants_server_run`` that is true
        self.wants_server_run = any(each.wants_server_run for each in self._all)

    def wants(self, kind: type[Event]) -> bool:
        """Return whether any observer takes events of a type, so that they need to be made."""
        return bool(self._takers(kind))

    def publish(self, event: Event) -> None:
        """Hand an event to every observer. Must be called on the event loop.

        Raises KeyboardInterrupt only: it can come from a signal, and then is not an observer's.
        """
        takers = self._by_type.get(type(event))
        if takers is None:
            takers = self._takers(type(event))
        for taker in takers:
            taker.put(event)

    def _takers(self, kind: type[Event]) -> list[_Direct]:
        takers = self._by_type.get(kind)
        if takers is None:
            takers = self._by_type[kind] = [each for each in self._all if each.takes(kind)]
        return takers

    async def close(self, timeout: float) -> None:
        """End the threads after every observer has seen what was published.

        :param timeout: seconds; an observer that takes longer misses the rest
        """
        threads = [each for each in self._all if isinstance(each, _Thread) and each.finish()]
        if threads:
            await asyncio.wait([thread.ended for thread in threads], timeout=timeout)
        for thread in threads:
            thread.abandon()


class _Direct:
    """An observer that is called on the event loop."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.wants_server_run = bool(getattr(observer, "wants_server_run", False))
        self._next_report = 0.0  # on the monotonic clock

    def takes(self, kind: type[Event]) -> bool:
        """Return whether the observer takes events of a type."""
        kinds = getattr(self._observer, "events", None)
        return kinds is None or kind in kinds

    def put(self, event: Event) -> None:
        """Call the observer."""
        began = time.monotonic()
        try:
            self._observer(event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.report("has raised an exception", error)
        if time.monotonic() - began > SLOW_CALL:
            self.report("has kept all jobs waiting; give it an attribute blocking = True")

    def report(self, what: str, error: BaseException | None = None, *, last: bool = False) -> bool:
        """Tell the loop's exception handler what the observer did, unless it was told lately.

        :param last: tell it in any case

        Return whether it was told.
        """
        now = time.monotonic()
        if now < self._next_report and not last:
            return False
        self._next_report = now + REPORT_INTERVAL
        context: dict[str, object] = {"message": f"observer {self._observer!r} {what}"}
        if error is not None:
            context["exception"] = error
        asyncio.get_running_loop().call_exception_handler(context)
        return True


class _Thread(_Direct):
    """A blocking observer with its thread, which is started with the first event."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(observer)
        self.ended: asyncio.Future[None]
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None  # once the thread was started
        self._missed = 0  # events that found the queue full
        self._missed_reported = 0  # of those, when the last report was made
        self._abandoned = False

    def put(self, event: Event) -> None:
        """Queue an event. When the queue is full, the observer misses the event."""
        if self._loop is None:
            self._start()
        if self._queue.qsize() < QUEUE_LIMIT:
            self._queue.put(event)
        else:
            self._missed += 1
            if self.report(f"is too slow, and has missed {self._missed} events so far"):
                self._missed_reported = self._missed

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended = self._loop.create_future()
        try:
            # A daemon: one that never returns must not keep the process.
            threading.Thread(target=self._run, name="observer", daemon=True).start()
        except RuntimeError as error:  # the system allows no more threads
            self.ended.set_result(None)
            self.report("misses every event: its thread cannot be started", error)

    def finish(self) -> bool:
        """Have the thread end after the events that wait; return whether there is a thread."""
        self._queue.put(None)
        return self._loop is not None

    def abandon(self) -> None:
        """Drop the events that the thread has not come to, and report all that were missed."""
        if self.ended.done():
            self._loop = None  # the next event starts a thread again
        else:
            self._abandoned = True
            left = max(self._queue.qsize() - 1, 0)
            self.report(f"is too slow, and misses the last {left} events", last=True)
        if self._missed > self._missed_reported:
            self.report(f"was too slow, and has missed {self._missed} events", last=True)
            self._missed_reported = self._missed

    # --- in the thread ---

    def _run(self) -> None:
        while (event := self._queue.get()) is not None and not self._abandoned:
            try:
                self._observer(event)
            except BaseException as error:
                self._call_in_loop(self.report, "has raised an exception", error)
        self._call_in_loop(self._set_ended)

    def _call_in_loop(self, callback: Callable[..., object], *values: object) -> None:
        assert self._loop is not None
        # RuntimeError: the loop is closed, because the runner did not wait for this observer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *values)

    def _set_ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
