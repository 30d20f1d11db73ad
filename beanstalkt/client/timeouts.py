"""How long the oldest place of a FIFO waits for its reply."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .pipeline import Fifo
from .requests import Reserve
from .timers import vigil_of

LAST_CHANCE = 1.0
"""Seconds that a reply may be late, with the loop running; a loop that was blocked is to blame."""

CATCH_UP = 1.0
"""Seconds between two looks at a connection that owes a reply: has it done all that it should?"""

MOVEMENT = 1024
"""Bytes that must come or go within the time for a reply, so that it counts anew. A peer that
drips a byte now and then does not keep anybody waiting for ever."""


class Patience:
    """Counts while a place is the oldest and nothing moves; a look now and then, for all places.

    :param response_timeout: seconds for any reply; for a reserve from the end of its own timeout.
        A plain reserve has no limit: it relies on keep-alive. Infinite: no limit for any
    :param catch_up: writes and reads what should have been written and read already
    :param late: called when a reply did not come in time
    """

    def __init__(
        self,
        fifo: Fifo,
        loop: asyncio.AbstractEventLoop,
        response_timeout: float,
        catch_up: Callable[[], None],
        late: Callable[[str], None],
    ) -> None:
        #: when the oldest place became the oldest, or some of a long body moved
        self.since = 0.0
        #: when it is looked whether that was too long ago
        self.due = 0.0
        self._watched = False
        self._vigil = vigil_of(loop)
        self._fifo = fifo
        self._loop = loop
        self._response_timeout = response_timeout
        self._catch_up = catch_up
        self._late = late
        self._doubted = 0.0  # the `since` of a reply that was late
        self._moved = 0  # bytes of a body, not counted yet

    def begin(self) -> None:
        """There is another oldest place from now on."""
        self.since = self._loop.time()
        if not self._watched:
            self._watch()

    def moved(self, count: int) -> None:
        """Counts anew: some of a reply has come, or of a command has gone, but not all."""
        self._moved += count
        if self._moved >= MOVEMENT:
            self._moved = 0
            self.since = self._loop.time()

    def stop(self) -> None:
        """Counts no longer."""
        self._watched = False
        self._vigil.discard(self._loop, self)

    def _limit(self) -> float:
        oldest = self._fifo.written[0]
        if not oldest.waits or not isinstance(oldest, Reserve):
            return self._response_timeout
        return math.inf if oldest.timeout is None else self._response_timeout + oldest.timeout

    def _watch(self) -> None:
        limit = self._limit()
        now = self._loop.time()
        if not self._fifo.written[0].waits:
            self._look_at(min(self.since + limit, now + CATCH_UP))
        elif limit < math.inf:
            # Never longer than that: the next place may have less time than this one.
            self._look_at(min(self.since + limit, now + self._response_timeout))

    def _look_at(self, when: float) -> None:
        self.due = when
        self._watched = True
        self._vigil.add(self._loop, self)

    def _overdue(self) -> bool:
        return self._loop.time() >= self.since + self._limit()

    def look(self) -> None:
        """Checks whether the oldest place has waited too long."""
        self._watched = False
        if not self._fifo.written:
            return
        self._catch_up()
        if not self._fifo.written or self._watched:
            return
        if not self._overdue():
            self._watch()
        elif self._doubted != self.since:
            # Where user code has blocked the loop, the command may not even be written yet.
            self._doubted = self.since
            self._look_at(self._loop.time() + min(LAST_CHANCE, self._response_timeout))
        else:
            verb = self._fifo.written[0].command.verb
            self._late(f"no reply to {verb} within {self._limit():g} s")
