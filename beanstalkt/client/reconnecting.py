"""Keeping one connection alive: open it, replay the tubes, open another one when it is lost.

Nothing here knows of verbs. What a new connection needs before the first user command is the
business of the `replay` hook.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..errors import BeanstalkException, ConnectionLost
from ..protocol.address import Address
from .connection import Connection
from .moving import Mover
from .requests import UNWRITTEN, Request, ReserveRequest
from .sockets import reason_of
from .timers import LazyTimer
from .timing import Timing
from .transport import TLSTransport, Transport, open_transport, within

log = logging.getLogger("beanstalkt")

NOT_YET = "not connected yet"
"""The reason for having no connection before the first attempt has ended."""

CANCELLED_DELAY = 0.2
"""Seconds between an attempt to connect that the program has cancelled and the next, at least."""

OVERDUE = 1.0
"""Seconds after which a timer that has not begun the next attempt never will."""


class Reconnector:
    """The connection of a client, and whatever waits for the next one.

    :param replay: makes a fresh connection use and watch what the old one did; raises when it
        cannot
    :param held_for: asks, on a fresh connection, for how many seconds any of these jobs may still
        be held by the old one; 0: none is
    :param reconnected: called when a lost connection has been replaced, before anything else
        is written to the new one
    """

    def __init__(
        self,
        address: Address,
        ssl_options: ssl.SSLContext | None,
        timing: Timing,
        replay: Callable[[Connection], Coroutine[Any, Any, None]],
        held_for: Callable[[Connection, set[int]], Awaitable[float]],
        reconnected: Callable[[], None],
    ) -> None:
        #: the connection; None while there is none
        self.connection: Connection | None = None
        #: where the server is
        self.address = address
        #: why there is no connection
        self.reason = "it was never connected: await connect(), or use 'async with'"
        self._ssl_options = ssl_options
        self._timing = timing
        self._loop: asyncio.AbstractEventLoop  # since connect()
        self._replay = replay
        self._held_for = held_for
        self._reconnected = reconnected
        self._task: asyncio.Task[None] | None = None  # opens a connection
        self._pause: asyncio.TimerHandle | None = None  # until it is tried again
        self._mover: Mover | None = None  # since connect()
        self._ending: set[asyncio.Task[None]] = set()  # tasks that were cancelled
        self._closing: asyncio.Task[None] | None = None  # closes the last connection
        self._waiters: dict[asyncio.Future[None], asyncio.TimerHandle | None] = {}
        self._for_one_attempt: set[asyncio.Future[None]] = set()  # of those that wait
        self._on_hold: list[ReserveRequest] = []  # waiting reserves without a connection
        self._hold_timer: LazyTimer  # of those, since connect()
        self._once = False  # there has been a connection since connect()
        self._delays = timing.delays()
        self._next_warning = 0.0

    def connect(
        self, loop: asyncio.AbstractEventLoop, timeout: float | None
    ) -> asyncio.Future[None]:
        """Return a Future that is done when there is a connection; fails with ConnectionLost.

        :param timeout: seconds; 0: until the next attempt has failed; None: no limit
        """
        future: asyncio.Future[None] = loop.create_future()
        if self.connection is not None:
            future.set_result(None)
            return future
        if not self.active:
            self._loop = loop
            self._hold_timer = LazyTimer(loop, self._expire_on_hold)
            self._mover = Mover(self, loop, self._timing, self._open, self._held_for)
            self._once = False
            self._delays = self._timing.delays()
            self._next_warning = 0.0
            self.reason = NOT_YET
            self._start_opening()
        timer = None
        if timeout:
            timer = loop.call_later(timeout, self._time_out, future, timeout)
        elif timeout is not None:
            self._for_one_attempt.add(future)
        self._waiters[future] = timer
        future.add_done_callback(self._waiter_done)
        return future

    @property
    def active(self) -> bool:
        """Whether there is a connection, or one is being opened, or will be."""
        return self.connection is not None or self._task is not None or self._pause is not None

    @property
    def _wanted(self) -> bool:
        """Whether a connection is to be made: to restore one, or for a caller that waits."""
        return self._once or not all(future.done() for future in self._waiters)

    def _time_out(self, future: asyncio.Future[None], timeout: float) -> None:
        def fail(_: object = None) -> None:
            if not future.done():
                message = f"no connection to {self.address} within {timeout:g} s: {self.reason}"
                future.set_exception(ConnectionLost(message))

        if self._once or len(self._waiters) > 1:
            fail()
            return
        # No other caller waits. Whoever hears of the failure may stop the loop at once, so the
        # attempt ends first, and no other one begins.
        task = self._task
        if task is not None:
            task.add_done_callback(fail)
        self._stop_opening()
        if task is None:
            fail()

    def _waiter_done(self, future: asyncio.Future[None]) -> None:
        """Stop trying if no caller waits for the first connection any more."""
        self._for_one_attempt.discard(future)
        timer = self._waiters.pop(future, None)
        if timer is not None:
            timer.cancel()
        if not self._once and not self._waiters:
            self._stop_opening()

    def _stop_opening(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._task is not None:
            self.cancel(self._task)
            self._task = None

    def cancel(self, task: asyncio.Task[None]) -> None:
        """Cancel a task that closing must wait for."""
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    # --- closing ---

    def close(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """End everything at once, and return the task that closes the connection.

        What still waits fails with ConnectionLost.
        """
        before = self._closing
        if before is not None and before.done():
            before = None
        if before is not None and not self.active:
            return before
        self._once = False
        self.reason = "the client was closed"
        self._stop_opening()
        if self._mover is not None:
            self._mover.stop()
        for future in list(self._waiters):
            if not future.done():
                future.set_exception(ConnectionLost(self.reason))
        for request in self._take_on_hold():
            request.lost(self.reason, sent=request.position != UNWRITTEN)
        connection, self.connection = self.connection, None
        tasks = [*self._ending] if before is None else [*self._ending, before]
        self._closing = loop.create_task(self._close(connection, tasks))
        if connection is not None:
            # A task that is cancelled before its first step takes none at all.
            self._closing.add_done_callback(lambda _: connection.abort_closing())
        return self._closing

    @staticmethod
    async def _close(connection: Connection | None, tasks: list[asyncio.Task[None]]) -> None:
        if connection is not None:
            await connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self) -> None:
        """Forget everything, when the loop was closed first: it runs nothing more."""
        connection, self.connection = self.connection, None
        self._task = self._pause = self._mover = self._closing = None
        self._once = False
        self._waiters.clear()
        self._for_one_attempt.clear()
        self._on_hold.clear()
        self._ending.clear()
        if connection is not None:
            connection.drop()

    # --- opening ---

    def _start_opening(self, delay: float = 0.0) -> None:
        """Try to open a connection after `delay` seconds, and again until it works.

        A task runs for one attempt, not in the pauses: one that others cancel must end, so that
        a loop can, and only a timer goes on, which keeps no loop from its end.
        """
        self._pause = None
        if delay:
            self._pause = self._loop.call_later(delay, self._start_opening)
        else:
            self._task = self._loop.create_task(self._try_to_open())
            self._task.add_done_callback(self._tried)

    async def _try_to_open(self) -> None:
        connection: Connection | None = None
        try:
            connection = await self._open()
            if self._wanted:
                self._adopt(connection)
            else:  # they were cancelled just now
                self._task = None
        finally:  # a signal's handler may raise anywhere
            if connection is not None and connection is not self.connection:
                connection.detach()

    def _tried(self, task: asyncio.Task[None]) -> None:
        """Try again, unless it has worked or was stopped."""
        if task is not self._task:
            return
        self._task = None
        self.reason = failure(task)
        for future in self._for_one_attempt:
            self._time_out(future, 0)
        if self._for_one_attempt and not self._wanted:
            return
        self.warn("cannot connect to %s: %s; trying again", self.address, self.reason)
        delay = self.next_delay()
        # A loop that ends cancels all tasks, and runs for a little longer: no task must be begun
        # in that time.
        self._start_opening(max(delay, CANCELLED_DELAY) if task.cancelled() else delay)

    def next_delay(self) -> float:
        """Return the seconds until the next attempt."""
        # There is always another one, but for a generator in which a signal's handler has raised.
        return next(self._delays, self._timing.reconnect_delay)

    def revive(self) -> None:
        """Connect again if a signal's handler has raised where that was to begin."""
        if not self._once or self.connection is not None:
            return
        if self._task is not None:
            stopped = self._task.done()
        else:
            stopped = self._pause is None or self._pause.when() < self._loop.time() - OVERDUE
        if stopped:
            self._stop_opening()
            self._start_opening(self.next_delay())

    async def _open(self) -> Connection:
        transport: Transport | TLSTransport | None = None
        connection: Connection | None = None
        try:
            transport = await open_transport(
                self.address, self._ssl_options, self._timing.attempt_timeout, self._stalled
            )
            connection = Connection(transport, self._loop, self._timing, self._ended, self._stuck)
            await within(self._timing.attempt_timeout, self._replay(connection))
            if connection.ended:
                raise OSError(f"connected, and lost again at once: {connection.reason}")
            connection.answered = False  # to a user of it
            return connection
        except BaseException:
            if connection is not None:
                connection.detach()
            elif transport is not None:
                transport.close()
            raise

    def _stalled(self, reason: str) -> None:
        """Note where an attempt stood that is cancelled because a caller's time is over."""
        if self.reason == NOT_YET:
            self.reason = reason

    def _adopt(self, connection: Connection) -> None:
        again, self._once = self._once, True
        self.connection, self._task = connection, None
        try:
            if again:
                log.info("connected to %s again", self.address)
                self._reconnected()
        finally:  # the callback may end the program, or what is to be its end
            if self.connection is connection:  # not closed by it
                self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """Send what has waited for this connection, and tell the callers of connect()."""
        on_hold = self._take_on_hold()
        try:
            now = self._loop.time()
            for request in on_hold:
                if request.wanted:
                    request.move_to(connection, now)
                    connection.send(request)
            for future in list(self._waiters):
                if not future.done():
                    future.set_result(None)
        except BaseException as error:
            connection.interrupted(error)
            for request in on_hold:
                request.lost(connection.reason, sent=True)
            raise

    # --- losing ---

    def _ended(self, connection: Connection, reason: str, kept: list[ReserveRequest]) -> None:
        if connection is not self.connection:
            # It was being set up, or the client is closed: nothing will repeat what waits.
            for request in kept:
                request.lost(reason, sent=request.position != UNWRITTEN)
            return
        self.connection = None
        self.reason = reason
        self._hold(kept)
        delay = 0.0
        lasted = self._loop.time() - connection.opened
        if connection.was_interrupted:
            log.info("lost the connection to %s: %s; connecting again", self.address, reason)
        elif connection.answered or lasted >= self._timing.reconnect_delay:
            self._delays = self._timing.delays()
            self._next_warning = 0.0
            self.warn("lost the connection to %s: %s; connecting again", self.address, reason)
            self._next_warning = 0.0  # the first attempt that fails is told as well
        else:
            # A peer that hangs up at once, or is no beanstalkd, must not be called again at once.
            self.warn(
                "connected to %s, and lost it again at once: %s; trying again",
                self.address,
                reason,
            )
            delay = self.next_delay()
        if self._mover is not None:
            self._mover.stop()
        self._start_opening(delay)

    def _hold(self, requests: list[ReserveRequest]) -> None:
        now = self._loop.time()
        for request in requests:
            request.begin(now)
        self._on_hold += requests
        self._set_hold_timer()

    def _take_on_hold(self) -> list[ReserveRequest]:
        requests, self._on_hold = self._on_hold, []
        if requests:
            self._hold_timer.close()
        return requests

    def _set_hold_timer(self) -> None:
        ends = [request.ends for request in self._on_hold if request.ends is not None]
        if ends:
            self._hold_timer.set(min(ends))

    def _expire_on_hold(self) -> None:
        """End the reserves that wait for a connection and whose timeout is over."""
        now = self._loop.time()
        for request in self._on_hold:
            if request.ends is not None and request.ends <= now:
                request.expire(", and the connection was lost")
        self._on_hold = [request for request in self._on_hold if request.wanted]
        self._set_hold_timer()

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, unless there was one a short time ago."""
        if self._loop.time() >= self._next_warning:
            self._next_warning = self._loop.time() + self._timing.warning_interval
            log.warning(message, *values)

    # --- moving ---

    def _stuck(self, connection: Connection) -> None:
        if connection is self.connection and self._mover is not None:
            self._mover.move_from(connection)

    def replace(self, old: Connection, fresh: Connection) -> None:
        """Go on with a fresh connection, and send there what waits on the old one."""
        requests: list[Request] = []
        try:
            self.connection = fresh
            requests = old.detach()
            now = self._loop.time()
            for request in requests:
                if isinstance(request, ReserveRequest):
                    request.move_to(fresh, now)
                fresh.send(request)
        except BaseException as error:  # a signal's handler may raise anywhere
            fresh.interrupted(error)
            for request in [*requests, *old.detach()]:
                request.lost(fresh.reason, sent=request.position != UNWRITTEN)
            raise


def failure(task: asyncio.Task[None]) -> str:
    """Return why an attempt to connect has not worked."""
    if task.cancelled():
        return "the attempt was cancelled"
    error = task.exception()
    if isinstance(error, (OSError, BeanstalkException)):
        return reason_of(error)
    return f"{type(error).__name__}: {error}"
