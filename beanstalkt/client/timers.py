"""Timers for times that are far off and are seldom reached, such as the limit on a reply.

While one of asyncio's own timers waits, each turn of the loop works out how long it may sleep and
has the system set a timer for that: with commands one after another, a thirtieth of all the time
that they take. These timers share one descriptor of the system's for each loop, and setting or
clearing one costs next to nothing as long as it is not the next to ring.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary, ref

from . import timerfd

MARGIN = 1e-6
"""Seconds; a descriptor that is set to no time at all never ends."""

LONGEST = 86_400.0
"""Seconds; an alarm is set to no more, because not every kind of timer counts to any number."""


class Rung(Protocol):
    """Something that an alarm calls when it is due."""

    due: float
    """when, on the loop's clock"""

    def ring(self) -> None:
        """Do what is due. The alarm does not call this again unless it is added again."""


class LazyTimer:
    """Call back once at the time that it was last set to, unless it was cleared.

    :param loop: whose time it keeps
    :param callback: what it calls
    """

    __slots__ = ("_alarm", "_callback", "_loop", "_rings", "_when", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        #: when it is looked at next, on the loop's clock
        self.due = math.inf
        self._when = math.inf  # when it is to call back; never later than it is looked at
        self._loop = loop
        self._callback = callback
        self._alarm = alarm_of(loop)
        self._rings = False  # it is among those that the alarm looks at

    def set(self, when: float) -> None:
        """Call back at this time of the loop's clock, and no longer at an earlier one."""
        self._when = when
        if not self._rings or when < self.due:
            self.due = when
            self._rings = True
            self._alarm.add(self._loop, self)

    def clear(self) -> None:
        """Call back no more. What waits in the loop is left to find that out."""
        self._when = math.inf

    def close(self) -> None:
        """Call back no more, and leave nothing in the loop."""
        self._when = self.due = math.inf
        self._rings = False
        self._alarm.discard(self._loop, self)

    def ring(self) -> None:
        """Call back if it is time. The alarm looks at it no more, unless it is set again."""
        self._rings = False
        when, self.due = self._when, math.inf
        if when == math.inf:
            return
        if self._loop.time() < when:
            self.set(when)
        else:
            self._when = math.inf
            self._callback()


class Alarm:
    """Call the lazy timers of one loop when they are due. Without any, nothing is open."""

    def __init__(self) -> None:
        self._timers: set[Rung] = set()
        self._next = math.inf  # when it is to ring
        self._fd: int | None = None
        self._handle: asyncio.TimerHandle | None = None  # where there is no such descriptor

    def __del__(self) -> None:
        if self._fd is not None:  # the loop is gone, and its timers were never closed
            os.close(self._fd)

    def add(self, loop: asyncio.AbstractEventLoop, timer: Rung) -> None:
        """Call the timer when it is due."""
        self._timers.add(timer)
        if timer.due < self._next:
            self._set(loop, timer.due)

    def discard(self, loop: asyncio.AbstractEventLoop, timer: Rung) -> None:
        """Do not call the timer any more."""
        self._timers.discard(timer)
        if not self._timers:
            self._close(loop)

    def _set(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._next = when
        now = loop.time()
        seconds = min(max(when - now, 0.0), LONGEST)
        if self._fd is None and self._handle is None:
            self._fd = timerfd.create()
            if self._fd is not None:
                loop.add_reader(self._fd, self._ring, loop)
        if self._fd is not None:
            try:
                timerfd.start(self._fd, max(seconds, MARGIN))
                return
            except OSError:
                # Not set again it would stay readable, and the loop would do nothing else.
                self._close_fd(loop)
        if self._handle is not None:
            self._handle.cancel()
        self._handle = loop.call_at(now + seconds, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        try:
            for timer in [each for each in self._timers if each.due <= now]:
                if timer in self._timers:
                    self._timers.discard(timer)
                    timer.ring()
        finally:
            # A callback that raises must not stop the other timers.
            if self._timers:
                self._set(loop, min(each.due for each in self._timers))
            else:
                self._close(loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = math.inf
        if self._fd is not None:
            self._close_fd(loop)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _close_fd(self, loop: asyncio.AbstractEventLoop) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            if not loop.is_closed():
                loop.remove_reader(fd)
            os.close(fd)


_alarms: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Alarm]] = WeakKeyDictionary()
"""By the loop. A timer keeps its alarm and its loop: were the alarm kept here, so would be the
loop, for ever."""


def alarm_of(loop: asyncio.AbstractEventLoop) -> Alarm:
    """Return the alarm of this loop."""
    kept = _alarms.get(loop)
    found = None if kept is None else kept()
    if found is None:
        found = Alarm()
        _alarms[loop] = ref(found)
    return found
