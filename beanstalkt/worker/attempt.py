"""A handler at work on one job."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .coroutine import crash
from .handler import Handler, Work
from .outcome import Kind, Outcome


class Attempt:
    """Runs a handler on a job, in a task of its own, and makes an outcome of whatever it raises.

    The code of a job may raise anything, KeyboardInterrupt and CancelledError included. None of
    that may leave the task: asyncio would end the loop, or whoever waits would take a
    CancelledError of the job for one of their own.
    """

    def __init__(self, handler: Handler, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        self._outcome: Outcome | None = None  # once it has ended
        self._cancelled = False  # by us
        self._waiter: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run(handler, work))
        # Cancelled before its first step, it never begins.
        self._task.add_done_callback(lambda _: self._end(Outcome(Kind.UNKNOWN_FAIL)))

    async def _run(self, handler: Handler, work: Work) -> None:
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
        if self._outcome is None:
            self._outcome = outcome
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def cancel(self) -> None:
        """Tell the handler to end, as by cancelling a task."""
        self._cancelled = True
        self._task.cancel()

    async def wait(self) -> Outcome:
        """Return what became of it. Cancelled, only the waiting ends; one at a time may wait."""
        while self._outcome is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._outcome
