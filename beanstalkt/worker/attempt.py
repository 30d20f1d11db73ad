"""A handler at work on one job."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .handlers.base import Handler, Work
from .policy.exceptions import crash
from .policy.outcome import Kind, Outcome


class Attempt:
    """Runs a handler on a job, in a task of its own, and makes an outcome of whatever it raises.

    The code of a job may raise anything, KeyboardInterrupt and CancelledError included. None of
    that may leave the task: asyncio would end the loop, or whoever waits would take a
    CancelledError of the job for one of their own.
    """

    def __init__(self, handler: Handler, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        self._outcome: Outcome | None = None  # once it has ended
        self._begun = False
        self._cancelled = False  # by us
        self._ended: asyncio.Future[Outcome] = self._loop.create_future()
        self._task = self._loop.create_task(self._run(handler, work))

    async def _run(self, handler: Handler, work: Work) -> None:
        self._begun = True
        try:
            outcome = await handler.run(work)
        except asyncio.CancelledError as error:
            if self._cancelled:
                outcome = Outcome(Kind.UNKNOWN_FAIL)
            else:
                outcome = replace(crash(error), error="it was cancelled")
        except BaseException as error:
            outcome = crash(error)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if not self._ended.done():
            self._ended.set_result(outcome)

    def cancel(self) -> None:
        """Tell the handler to end, as by cancelling a task."""
        self._cancelled = True
        self._task.cancel()
        if not self._begun and self._outcome is None:
            # Cancelled before its first step, it never begins.
            self._end(Outcome(Kind.UNKNOWN_FAIL))

    def wait(self) -> asyncio.Future[Outcome]:
        """Return a Future of what becomes of it. To cancel that ends nothing but the waiting;
        one at a time may wait."""
        if self._ended.cancelled():
            self._ended = self._loop.create_future()
            if self._outcome is not None:
                self._ended.set_result(self._outcome)
        return self._ended
