"""How long the oldest place of a FIFO waits for its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .fifo import Fifo
from .place import Reserve
from .vigil import vigil_of

LAST_CHANCE = 1.0
"""Seconds that a reply may be late, with the loop running; a loop that was blocked is to blame."""


class Patience:
    """Counts while a place is the oldest; one look for all, which costs no command anything.

    :param response_timeout: seconds for any reply; for a reserve behind its own timeout. A
        plain reserve has no limit: it relies on keep-alive
    :param read_now: reads what has come already
    :param late: called when a reply did not come in time
    """

    def __init__(
        self,
        fifo: Fifo,
        loop: asyncio.AbstractEventLoop,
        response_timeout: float,
        read_now: Callable[[], None],
        late: Callable[[str], None],
    ) -> None:
        #: when the oldest place became the oldest
        self.since = 0.0
        #: when it is looked whether that was too long ago
        self.due = 0.0
        self._watched = False
        self._vigil = vigil_of(loop)
        self._fifo = fifo
        self._loop = loop
        self._response_timeout = response_timeout
        self._read_now = read_now
        self._late = late
        self._doubted = 0.0  # the `since` of a reply that was late

    def begin(self) -> None:
        """There is another oldest place from now on."""
        self.since = self._loop.time()
        if not self._watched:
            self._watch()

    def stop(self) -> None:
        """Counts no longer."""
        self._watched = False
        self._vigil.discard(self._loop, self)

    def _limit(self) -> float | None:
        oldest = self._fifo.written[0]
        if not oldest.waits or not isinstance(oldest, Reserve):
            return self._response_timeout
        return None if oldest.timeout is None else self._response_timeout + oldest.timeout

    def _watch(self) -> None:
        limit = self._limit()
        if limit is not None:
            # Never longer than that: the next place may have less time than this one.
            now = self._loop.time()
            self._look_at(min(self.since + limit, now + self._response_timeout))

    def _look_at(self, when: float) -> None:
        self.due = when
        self._watched = True
        self._vigil.add(self._loop, self)

    def _overdue(self) -> bool:
        limit = self._limit()
        return limit is not None and self._loop.time() >= self.since + limit

    def look(self) -> None:
        """It is due."""
        self._watched = False
        if not self._fifo.written:
            return
        if self._overdue():
            # The loop may have been too busy to read, or waits for more bytes than have come.
            self._read_now()
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
