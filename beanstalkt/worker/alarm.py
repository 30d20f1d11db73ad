"""A timer that is set for each job, and nearly always cleared again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls back once at the time that it was last set to, unless it was cleared.

    The loop's own timer is left where it is when the alarm is cleared, and looks, when it is
    due, whether there is a later time to wait for: to set and clear the alarm for each of many
    short jobs costs next to nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._when = 0.0  # on the loop's clock
        self._callback: Callable[[], object] | None = None  # while it is set
        self._timer: asyncio.TimerHandle | None = None

    def set(self, delay: float, callback: Callable[[], object]) -> None:
        """Have it call after so many seconds, and no longer when it was to call before."""
        self._when = self._loop.time() + delay
        self._callback = callback
        if self._timer is not None:
            if self._timer.when() <= self._when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._when, self._ring)

    def clear(self) -> None:
        """Do not call."""
        self._callback = None

    def stop(self) -> None:
        """Do not call, and leave no timer in the loop."""
        self._callback = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        callback = self._callback
        if callback is None:
            return
        if self._loop.time() < self._when:
            self._timer = self._loop.call_at(self._when, self._ring)
        else:
            self._callback = None
            callback()
