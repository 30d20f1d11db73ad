"""How long the oldest request of a pipeline waits for its reply."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .pipeline import Pipeline
from .requests import ReserveRequest
from .timers import LazyTimer
from .timing import MOVEMENT, Timing


class ReplyTimeout:
    """End a connection whose oldest request has waited too long; one timer serves all requests.

    A reserve's reply counts from the end of its own timeout. A plain reserve has no limit: it
    relies on keep-alive.

    :param catch_up: writes and reads what should have been written and read already
    :param late: called with the reason when a reply did not come in time
    """

    def __init__(
        self,
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        catch_up: Callable[[], None],
        late: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._loop = loop
        self._timing = timing
        self._catch_up = catch_up
        self._late = late
        self._timer = LazyTimer(loop, self._look)
        #: whether the timer is set
        self.watching = False
        self._doubted = 0.0  # the `quiet_since` of a reply that was late
        self._moved = 0  # bytes of a body, not counted yet

    def moved(self, count: int) -> None:
        """Count anew if many bytes of a reply have come, or of a command have gone."""
        self._moved += count
        if self._moved >= MOVEMENT:
            self._moved = 0
            self._pipeline.quiet_since = self._loop.time()

    def close(self) -> None:
        """Count no longer, and leave nothing in the loop."""
        self.watching = False
        self._timer.close()

    def _limit(self) -> float:
        oldest = self._pipeline.in_flight[0]
        if not oldest.blocks or not isinstance(oldest, ReserveRequest):
            return self._timing.response_timeout
        if oldest.timeout is None:
            return math.inf
        return self._timing.response_timeout + oldest.timeout

    def watch(self) -> None:
        """Set the timer for the oldest request, if there is one."""
        if not self._pipeline.in_flight:
            return
        limit = self._limit()
        now = self._loop.time()
        since = self._pipeline.quiet_since
        if not self._pipeline.in_flight[0].blocks:
            self._look_at(min(since + limit, now + self._timing.catch_up))
        elif limit < math.inf:
            # Never longer than that: the next request may have less time than this one.
            self._look_at(min(since + limit, now + self._timing.response_timeout))

    def _look_at(self, when: float) -> None:
        self.watching = True
        self._timer.set(when)

    def _overdue(self) -> bool:
        return self._loop.time() >= self._pipeline.quiet_since + self._limit()

    def _look(self) -> None:
        """Check whether the oldest request has waited too long."""
        self.watching = False
        if not self._pipeline.in_flight:
            return
        self._catch_up()
        if not self._pipeline.in_flight or self.watching:
            return
        if not self._overdue():
            self.watch()
        elif self._doubted != self._pipeline.quiet_since:
            # Where user code has blocked the loop, the command may not even be written yet.
            self._doubted = self._pipeline.quiet_since
            late = min(self._timing.late_reply, self._timing.response_timeout)
            self._look_at(self._loop.time() + late)
        else:
            verb = self._pipeline.in_flight[0].command.verb
            self._late(f"no reply to {verb} within {self._limit():g} s")
