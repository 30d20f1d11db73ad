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
from weakref import WeakKeyDictionary, ref

from . import timerfd

MARGIN = 1e-6
"""Seconds; a timer that is set to no time at all never ends."""

LONGEST = 86_400.0
"""Seconds; a timer is set to no more, because not every kind of timer counts to any number."""


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

    def __del__(self) -> None:
        if self._fd is not None:  # the loop is gone, and nobody has closed what it watched
            os.close(self._fd)

    def add(self, loop: asyncio.AbstractEventLoop, watched: Watched) -> None:
        """Calls `watched.look()` when it is due."""
        self._watched.add(watched)
        if watched.due < self._next:
            self._set(loop, watched.due)

    def discard(self, loop: asyncio.AbstractEventLoop, watched: Watched) -> None:
        """Forgets `watched`."""
        self._watched.discard(watched)
        if not self._watched:
            self._close(loop)

    def _set(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._next = when
        now = loop.time()
        seconds = min(max(when - now, MARGIN), LONGEST)
        if self._fd is None and self._timer is None:
            self._fd = timerfd.create()
            if self._fd is not None:
                loop.add_reader(self._fd, self._ring, loop)
        if self._fd is not None:
            try:
                timerfd.start(self._fd, seconds)
                return
            except OSError:
                # Not set again it would stay readable, and the loop would do nothing else.
                self._close_fd(loop)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(now + seconds, self._ring, loop)

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
            self._close_fd(loop)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_fd(self, loop: asyncio.AbstractEventLoop) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            if not loop.is_closed():
                loop.remove_reader(fd)
            os.close(fd)


_vigils: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Vigil]] = WeakKeyDictionary()
"""By the loop. Whoever is watched keeps its vigil, and has the loop: were the vigil kept here, so
would be the loop, for ever."""


def vigil_of(loop: asyncio.AbstractEventLoop) -> Vigil:
    """Returns the vigil of this loop."""
    kept = _vigils.get(loop)
    found = None if kept is None else kept()
    if found is None:
        found = Vigil()
        _vigils[loop] = ref(found)
    return found
