"""Moving off a connection that is stuck: reserves without a caller hold up what waits on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from ..errors import BeanstalkException
from ..protocol.address import Address
from .connection import Connection
from .timing import Timing


class Owner(Protocol):
    """The owner of the connection, as far as moving needs it."""

    connection: Connection | None
    address: Address

    def cancel(self, task: asyncio.Task[None]) -> None:
        """Cancel a task that closing must wait for."""

    def next_delay(self) -> float:
        """Return the seconds until the next attempt to connect."""

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, unless there was one a short time ago."""

    def replace(self, old: Connection, fresh: Connection) -> None:
        """Go on with a fresh connection, and send there what waits on the old one."""


class Mover:
    """Open a second connection when the first is stuck, and have its owner go on with it.

    A connection that holds jobs is not left, for they would be given to other workers, and
    DEADLINE_SOON ends the reserve. Only a job whose time ran out unnoticed would keep it for
    ever, so after a while the server is asked.

    :param open_connection: opens a connection and replays the tubes
    :param held_for: asks, on a fresh connection, for how many seconds any of these jobs may still
        be held by the old one; 0: none is
    """

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        open_connection: Callable[[], Coroutine[Any, Any, Connection]],
        held_for: Callable[[Connection, set[int]], Awaitable[float]],
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._timing = timing
        self._open = open_connection
        self._held_for = held_for
        self._task: asyncio.Task[None] | None = None  # opens the second connection
        self._recheck: asyncio.TimerHandle | None = None  # of a connection that holds jobs

    def move_from(self, connection: Connection) -> None:
        """Move off this connection, which is stuck; later if it holds jobs."""
        if self._task is not None:
            return
        if not connection.jobs:
            self._start(connection)
        elif self._recheck is None:
            self._start_later(self._timing.held_check, connection)

    def stop(self) -> None:
        """Move no more: the connection has ended."""
        self._stop_recheck()
        task, self._task = self._task, None
        if task is not None:
            self._owner.cancel(task)

    def _start_later(self, delay: float, connection: Connection) -> None:
        self._recheck = self._loop.call_later(delay, self._start, connection)

    def _start(self, connection: Connection) -> None:
        self._stop_recheck()
        if connection.stuck and self._task is None:
            self._task = self._loop.create_task(self._move(connection))
            self._task.add_done_callback(lambda task: self._moved(connection, task))

    def _stop_recheck(self) -> None:
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None

    async def _move(self, old: Connection) -> None:
        """Go on with a fresh connection, unless a job is held or the old one is free again."""
        held = 0.0
        while old.stuck and not held and self._task is asyncio.current_task():
            since = old.quiet_since
            fresh: Connection | None = None
            try:
                fresh = await self._open()
                held = await self._held_for(fresh, old.jobs)
                # Free in between, the old one may have changed its tubes: set up another then.
                same = old.stuck and old.quiet_since == since
                if same and not held and self._task is asyncio.current_task():
                    self._owner.replace(old, fresh)
            except (OSError, BeanstalkException) as error:
                # One that was lost in the middle is followed by the next, which will tell.
                if fresh is None and self._task is asyncio.current_task():
                    self._warn(str(error))
                    await asyncio.sleep(self._owner.next_delay())
            finally:
                if fresh is not None and fresh is not self._owner.connection:
                    fresh.detach()
        if self._task is asyncio.current_task():
            self._task = None
            if held:
                self._start_later(held, old)

    def _moved(self, old: Connection, task: asyncio.Task[None]) -> None:
        """Try again later if others have cancelled the move, or it has failed."""
        if task is not self._task:
            return
        self._task = None
        error = None if task.cancelled() else task.exception()
        self._warn("the attempt was cancelled" if error is None else repr(error))
        if self._recheck is None:
            self._start_later(self._owner.next_delay(), old)

    def _warn(self, reason: str) -> None:
        self._owner.warn(
            "no second connection to %s: %s; trying again", self._owner.address, reason
        )
