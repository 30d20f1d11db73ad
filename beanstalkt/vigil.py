"""Looks at times that are far off and seldom come, such as the latest time for a reply.

With a timer of asyncio's waiting, each turn of the loop works out how long it may sleep, and has
the system set a timer for that: with commands one after another a thirtieth of all the time that
they take. A timer that is a descriptor costs those turns nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import Protocol
from weakref import WeakKeyDictionary

from . import timerfd

MARGIN = 1e-6
"""Seconds; a timer that is set to no time at all never ends."""


class Watched(Protocol):
    """Who has a time to be looked at."""

    due: float
    """on the loop's clock"""

    def look(self) -> None:
        """That time has come; there is no other before it is added again."""


class Vigil:
    """One for a loop. While nobody is watched, nothing is open."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._next = math.inf  # when it is to ring
        self._fd: int | None = None
        self._timer: asyncio.TimerHandle | None = None  # where there is no such descriptor

    def add(self, loop: asyncio.AbstractEventLoop, watched: Watched) -> None:
        """Look at it when it is due."""
        self._watched.add(watched)
        if watched.due < self._next:
            self._set(loop, watched.due)

    def discard(self, loop: asyncio.AbstractEventLoop, watched: Watched) -> None:
        """Do not."""
        self._watched.discard(watched)
        if not self._watched:
            self._close(loop)

    def _set(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._next = when
        if self._fd is None and self._timer is None:
            self._fd = timerfd.create()
            if self._fd is not None:
                loop.add_reader(self._fd, self._ring, loop)
        if self._fd is not None:
            timerfd.start(self._fd, max(when - loop.time(), MARGIN))
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        try:
            for watched in [each for each in self._watched if each.due <= now]:
                if watched in self._watched:
                    self._watched.discard(watched)
                    watched.look()
        finally:
            # Whoever fails in its look must not end the others' watch.
            if self._watched:
                self._set(loop, min(each.due for each in self._watched))
            else:
                self._close(loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = math.inf
        if self._fd is not None:
            loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_vigils: WeakKeyDictionary[asyncio.AbstractEventLoop, Vigil] = WeakKeyDictionary()


def vigil_of(loop: asyncio.AbstractEventLoop) -> Vigil:
    """The one of this loop."""
    found = _vigils.get(loop)
    if found is None:
        found = _vigils[loop] = Vigil()
    return found
