"""Keeps one connection alive: opens it, sets it up, and opens another one when it is lost.

It knows nothing of verbs. What a new connection needs before anybody uses it is the `set_up`
hook's business.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..protocol.address import Address
from .connection import Connection
from .requests import UNWRITTEN, Reserve
from .transport import open_stream, within

log = logging.getLogger("beanstalkt")

ATTEMPT_TIMEOUT = 10.0
"""Seconds for one attempt: to connect, and once more to set the connection up."""

HELD_CHECK = 5.0
"""Seconds after which a connection that seems to hold jobs is asked about."""

OVERDUE = 1.0
"""Seconds after which a timer that has not begun the next attempt never will."""

WARNING_INTERVAL = 60.0
"""Seconds between two warnings about a server that stays away."""


YEAR = 365 * 86_400.0
"""Seconds. Who waits longer than that has no limit; the timers of a loop do not count so far."""


@dataclass(frozen=True)
class Timing:
    """How long to wait for what, in seconds; infinite: without a limit. Raises InvalidArgument."""

    reconnect_delay: float = 1.0
    max_reconnect_delay: float = 1.0
    response_timeout: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # Without a pause, a server that is away would be called without end.
            if not isinstance(value, (int, float)) or not value > 0:
                raise InvalidArgument(f"{name} must be a number of seconds above 0, not {value!r}")
        if self.reconnect_delay > YEAR:
            raise InvalidArgument(
                f"reconnect_delay must be at most {YEAR:.0f} seconds (a year), "
                f"not {self.reconnect_delay!r}: the client would never connect again"
            )
        if self.response_timeout > YEAR:
            object.__setattr__(self, "response_timeout", math.inf)
        if self.max_reconnect_delay > YEAR:
            object.__setattr__(self, "max_reconnect_delay", YEAR)

    def delays(self) -> Iterator[float]:
        """The pauses between attempts: growing up to the maximum, with a tenth of jitter."""
        delay = self.reconnect_delay
        while True:
            yield delay * random.uniform(0.9, 1.1)
            delay = max(delay, min(delay * 2, self.max_reconnect_delay))


class Supervisor:
    """Owns the connection of a client, and whatever waits for the next one.

    :param set_up: makes a fresh connection what the old one was; raises when it cannot
    :param held_for: asks, on a fresh connection, for how many seconds any of these jobs may still
        be held by the old one; 0: none is
    :param restored: called when a lost connection has been replaced, before anything else
        is written to the new one
    """

    def __init__(
        self,
        address: Address,
        ssl_options: ssl.SSLContext | None,
        timing: Timing,
        set_up: Callable[[Connection], Coroutine[Any, Any, None]],
        held_for: Callable[[Connection, set[int]], Awaitable[float]],
        restored: Callable[[], None],
    ) -> None:
        #: None while there is none
        self.connection: Connection | None = None
        self.address = address
        self._ssl_options = ssl_options
        self._timing = timing
        self._loop: asyncio.AbstractEventLoop  # since connect()
        self._set_up = set_up
        self._held_for = held_for
        self._restored = restored
        self._task: asyncio.Task[None] | None = None  # opens a connection
        self._pause: asyncio.TimerHandle | None = None  # until it is tried again
        self._move: asyncio.Task[None] | None = None  # opens one to replace one that is stuck
        self._ending: set[asyncio.Task[None]] = set()  # such tasks, cancelled
        self._recheck: asyncio.TimerHandle | None = None  # of one that is stuck and holds jobs
        self._closing: asyncio.Task[None] | None = None  # takes leave of the last connection
        self._waiters: dict[asyncio.Future[None], asyncio.TimerHandle | None] = {}
        self._on_hold: list[Reserve] = []  # waiting reserves without a connection
        self._once = False  # there has been a connection
        self._delays = timing.delays()
        self._next_warning = 0.0
        self._reason = "not connected"

    @property
    def reason(self) -> str:
        """Why there is no connection."""
        return self._reason

    def connect(
        self, loop: asyncio.AbstractEventLoop, timeout: float | None
    ) -> asyncio.Future[None]:
        """A Future that is done when there is a connection; fails with ConnectionLost."""
        future: asyncio.Future[None] = loop.create_future()
        if self.connection is not None:
            future.set_result(None)
            return future
        if not self.active:
            self._loop = loop
            self._once = False
            self._delays = self._timing.delays()
            self._next_warning = 0.0
            self._reason = "not connected yet"
            self._start_opening()
        timer = None
        if timeout is not None:
            timer = loop.call_later(timeout, self._give_up, future, timeout)
        self._waiters[future] = timer
        future.add_done_callback(self._waiter_done)
        return future

    @property
    def active(self) -> bool:
        """There is a connection, or one is being opened, or will be."""
        return self.connection is not None or self._task is not None or self._pause is not None

    def _give_up(self, future: asyncio.Future[None], timeout: float) -> None:
        message = f"no connection to {self.address} within {timeout:g} s: {self._reason}"

        def fail(_: object = None) -> None:
            if not future.done():
                future.set_exception(ConnectionLost(message))

        if self._once or len(self._waiters) > 1 or self._task is None:
            fail()
            return
        # Nobody else waits. Whoever hears of the failure may stop the loop at once, so the
        # attempt ends first.
        self._task.add_done_callback(fail)
        self._stop_opening()

    def _waiter_done(self, future: asyncio.Future[None]) -> None:
        """Nobody is left who waits for the first connection: stop trying."""
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
            self._cancel(self._task)
            self._task = None

    def _stop_moving(self) -> None:
        if self._move is not None:
            self._cancel(self._move)
            self._move = None

    def _cancel(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    def close(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """Ends everything at once, but for the farewell that is returned.

        What still waits fails with ConnectionLost.
        """
        before = self._closing
        if before is not None and before.done():
            before = None
        if before is not None and not self.active:
            return before
        self._once = False
        self._reason = "the client was closed"
        self._stop_opening()
        self._stop_moving()
        self._cancel_recheck()
        for future in list(self._waiters):
            if not future.done():
                future.set_exception(ConnectionLost(self._reason))
        on_hold, self._on_hold = self._on_hold, []
        for place in on_hold:
            place.future.stop_timer()
            place.lost(self._reason, sent=place.position != UNWRITTEN)
        connection, self.connection = self.connection, None
        tasks = [*self._ending] if before is None else [*self._ending, before]
        self._closing = loop.create_task(self._farewell(connection, tasks))
        if connection is not None:
            # A task that is cancelled before its first step takes none at all.
            self._closing.add_done_callback(lambda _: connection.give_up())
        return self._closing

    def abandon(self) -> None:
        """Forgets everything, when the loop was closed first: it runs nothing more."""
        connection, self.connection = self.connection, None
        self._task = self._move = self._pause = self._recheck = None
        self._once = False
        self._waiters.clear()
        self._on_hold.clear()
        self._ending.clear()
        self._closing = None
        if connection is not None:
            connection.abandon()

    @staticmethod
    async def _farewell(connection: Connection | None, tasks: list[asyncio.Task[None]]) -> None:
        if connection is not None:
            await connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- opening ---

    def _start_opening(self, delay: float = 0.0) -> None:
        """Tries to open a connection after `delay` seconds, and again until it works.

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
        connection = await self._open()
        if not self._once and all(future.done() for future in self._waiters):
            connection.leave()  # they were cancelled just now
            self._task = None
        else:
            self._adopt(connection)

    def _tried(self, task: asyncio.Task[None]) -> None:
        """Tries again, unless it has worked or was stopped."""
        if task is not self._task:
            return
        self._task = None
        self._reason = _failure(task)
        self._warn("cannot connect to %s: %s; trying again", self.address, self._reason)
        self._start_opening(self._next_delay())

    def _next_delay(self) -> float:
        # There is always another one, but for a generator in which a signal's handler has raised.
        return next(self._delays, self._timing.reconnect_delay)

    def revive(self) -> None:
        """Connects again if a signal's handler has raised where that was to begin."""
        if not self._once or self.connection is not None:
            return
        if self._task is not None:
            stopped = self._task.done()
        else:
            stopped = self._pause is None or self._pause.when() < self._loop.time() - OVERDUE
        if stopped:
            self._stop_opening()
            self._start_opening(self._next_delay())

    async def _open(self) -> Connection:
        stream = await open_stream(self.address, self._ssl_options, ATTEMPT_TIMEOUT)
        connection = Connection(
            stream, self._loop, self._timing.response_timeout, self._ended, self._stuck
        )
        try:
            await within(ATTEMPT_TIMEOUT, self._set_up(connection))
        except BaseException:
            connection.leave()
            raise
        if connection.ended:
            raise OSError(f"connected, and lost again at once: {connection.reason}")
        connection.answered = False  # to a user of it
        return connection

    def _adopt(self, connection: Connection) -> None:
        again, self._once = self._once, True
        self.connection, self._task = connection, None
        try:
            if again:
                log.info("connected to %s again", self.address)
                self._restored()
        finally:  # the callback may end the program, or what is to be its end
            if self.connection is connection:  # not closed by it
                self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """Sends what has waited for this connection, and tells who has."""
        on_hold = self._on_hold
        try:
            self._on_hold = []
            now = self._loop.time()
            for place in on_hold:
                place.future.stop_timer()
                if place.live:
                    place.renew(connection, now)
                    connection.send(place)
            for future in list(self._waiters):
                if not future.done():
                    future.set_result(None)
        except BaseException as error:
            connection.interrupted(error)
            for place in on_hold:
                place.lost(connection.reason, sent=True)
            raise

    # --- losing ---

    def _ended(self, connection: Connection, reason: str, on: list[Reserve]) -> None:
        if connection is not self.connection:
            # It was being set up, or the client is closed: nobody will repeat what waits.
            for place in on:
                place.lost(reason, sent=place.position != UNWRITTEN)
            return
        self.connection = None
        self._reason = reason
        now = self._loop.time()
        for place in on:
            self._put_on_hold(place, now)
        delay = 0.0
        if connection.answered or now - connection.opened >= self._timing.reconnect_delay:
            self._delays = self._timing.delays()
            self._next_warning = 0.0
            self._warn("lost the connection to %s: %s; connecting again", self.address, reason)
            self._next_warning = 0.0  # the first attempt that fails is told as well
        else:
            # A peer that hangs up at once must not be called again at once.
            self._warn("no use of a connection to %s: %s; trying again", self.address, reason)
            delay = self._next_delay()
        self._cancel_recheck()
        self._stop_moving()
        self._start_opening(delay)

    def _put_on_hold(self, place: Reserve, now: float) -> None:
        place.begin(now)
        if place.ends is not None:
            place.future.timer = self._loop.call_at(place.ends, place.expire)
        self._on_hold.append(place)

    def _warn(self, message: str, *values: object) -> None:
        if self._loop.time() >= self._next_warning:
            self._next_warning = self._loop.time() + WARNING_INTERVAL
            log.warning(message, *values)

    # --- moving ---

    def _stuck(self, connection: Connection) -> None:
        """Only reserves that nobody wants hold up what waits on this connection.

        While it holds jobs it is not left, for they would be given to others, and
        DEADLINE_SOON ends the reserve. Only a job whose time ran out unnoticed would keep it
        for ever, so after a while the server is asked.
        """
        if self._move is not None or connection is not self.connection:
            return
        if not connection.jobs:
            self._start_move(connection)
        elif self._recheck is None:
            self._recheck = self._loop.call_later(HELD_CHECK, self._start_move, connection)

    def _start_move(self, connection: Connection) -> None:
        self._cancel_recheck()
        if connection.stuck and self._move is None:
            self._move = self._loop.create_task(self._move_from(connection))
            self._move.add_done_callback(lambda task: self._moved(connection, task))

    def _cancel_recheck(self) -> None:
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None

    async def _move_from(self, old: Connection) -> None:
        """Continues on a fresh connection, unless a job is held or the old one is free again."""
        held = 0.0
        while old.stuck and not held and self._move is asyncio.current_task():
            since = old.quiet_since
            try:
                fresh = await self._open()
            except (OSError, BeanstalkException) as error:
                if self._move is asyncio.current_task():
                    self._warn("no second connection to %s: %s; trying again", self.address, error)
                    await asyncio.sleep(self._next_delay())
                continue
            try:
                held = await self._held_for(fresh, old.jobs)
                # Free in between, the old one may have changed its tubes: set up another then.
                same = old.stuck and old.quiet_since == since
                if same and not held and self._move is asyncio.current_task():
                    self._replace(old, fresh)
            except BeanstalkException:
                pass  # lost in the middle: the next one will tell
            finally:
                if fresh is not self.connection:
                    fresh.leave()
        if self._move is asyncio.current_task():
            self._move = None
            if held:
                self._recheck = self._loop.call_later(held, self._start_move, old)

    def _moved(self, old: Connection, task: asyncio.Task[None]) -> None:
        """Tries again later if others have cancelled the move, or it has failed."""
        if task is not self._move:
            return
        self._move = None
        self._warn("no second connection to %s: %s; trying again", self.address, _failure(task))
        if self._recheck is None:
            self._recheck = self._loop.call_later(self._next_delay(), self._start_move, old)

    def _replace(self, old: Connection, fresh: Connection) -> None:
        self.connection = fresh
        now = self._loop.time()
        for place in old.leave():
            if isinstance(place, Reserve):
                place.renew(fresh, now)
            fresh.send(place)


def _failure(task: asyncio.Task[None]) -> str:
    """Why an attempt has not worked."""
    if task.cancelled():
        return "the attempt was cancelled"
    error = task.exception()
    if isinstance(error, (OSError, BeanstalkException)):
        return str(error)
    return f"{type(error).__name__}: {error}"
