"""Notice that the code of a job blocks the event loop, and report it now and then."""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from .events import Event, LoopBlocked

_T = TypeVar("_T")


@types.coroutine
def watch_steps(
    coroutine: Coroutine[Any, Any, _T], limit: float, report: Callable[[float], object]
) -> Generator[Any, Any, _T]:
    """Await a coroutine, and report each of its steps that takes longer than a limit.

    A step is what runs from one wait to the next; meanwhile the loop stands still. To measure a
    step costs two looks at the clock, and says for certain which coroutine it was.

    :param limit: seconds
    :param report: is called with the seconds that a step took; must not raise
    """
    step: Callable[[Any], Any] | None = coroutine.send
    argument: Any = None
    while True:
        assert step is not None
        began = time.monotonic()
        try:
            awaited = step(argument)
        except StopIteration as stop:
            result: _T = stop.value
            return result
        finally:
            # An exception that was thrown in refers to this frame, which must not refer to it.
            step = argument = None
            seconds = time.monotonic() - began
            if seconds > limit:
                report(seconds)
        try:
            argument = yield awaited
            step = coroutine.send
        except BaseException as error:
            step, argument = coroutine.throw, error


class BlockingReports:
    """Publish that jobs block the loop, at most once in an interval for each tube.

    :param interval: seconds
    """

    def __init__(self, interval: float, publish: Callable[[Event], None]) -> None:
        self._interval = interval
        self._publish = publish
        self._next: dict[str, float] = {}  # by the tube, on the monotonic clock

    def report(self, event: LoopBlocked) -> None:
        """Publish an event, unless another one about the tube was published lately."""
        now = time.monotonic()
        if now >= self._next.get(event.tube, now):
            self._next[event.tube] = now + self._interval
            self._publish(event)
