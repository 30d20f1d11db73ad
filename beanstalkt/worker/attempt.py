"""A handler at work on one job, and what stops it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from .blocking import watch_steps
from .handlers.base import Handler, WorkerJob
from .policy.exceptions import crash
from .policy.outcome import Kind, Outcome


class Attempt:
    """Run a handler on a job in a task of its own, and make an outcome of whatever it raises.

    The code of a job may raise anything, KeyboardInterrupt and CancelledError included. None of
    that may leave the task: asyncio would end the loop, or the slot would take a CancelledError
    of the job for one of its own.

    :param repeat_delay: seconds after which a handler that was cancelled and goes on is
        cancelled again
    :param report_blocking: is called with the job, and the seconds for which its code has blocked
        the loop, if that was longer than a third of its ttr; None: that is not measured
    """

    def __init__(
        self,
        handler: Handler,
        work: WorkerJob,
        repeat_delay: float,
        report_blocking: Callable[[WorkerJob, float], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._repeat_delay = repeat_delay
        self._report_blocking = report_blocking if handler.in_process else None
        self._reason: Kind | None = None  # why it was stopped
        self._repeat: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None  # once it has ended
        self._begun = False
        self._ended: asyncio.Future[Outcome] = self._loop.create_future()
        self._task = self._loop.create_task(self._run(handler, work))

    async def _run(self, handler: Handler, work: WorkerJob) -> None:
        self._begun = True
        try:
            run: Awaitable[Outcome] = handler.run(work)
            report = self._report_blocking
            if report is not None and isinstance(run, types.CoroutineType):
                limit = max(work.counters["ttr"], 1) / 3
                run = watch_steps(run, limit, partial(report, work))
            outcome = await run
        except asyncio.CancelledError as error:
            if self._reason is not None:
                outcome = Outcome(Kind.UNKNOWN_FAIL)
            else:
                outcome = replace(crash(error), error="it was cancelled")
        except BaseException as error:
            outcome = crash(error)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if self._repeat is not None:
            self._repeat.cancel()
        if not self._ended.done():
            self._ended.set_result(outcome)

    @property
    def stopping(self) -> bool:
        """Whether the handler was told to stop."""
        return self._reason is not None

    def stop(self, reason: Kind) -> None:
        """Cancel the handler now, and again each time that `repeat_delay` has passed.

        :param reason: TIMEOUT, STOPPED or LOST. The first one counts, unless it is LOST later:
            an outcome SUCCESS stays one after a stop, and becomes LOST for a lost job
        """
        if self._reason is None or reason is Kind.LOST:
            self._reason = reason
        if self._outcome is not None:
            return
        if self._repeat is not None:
            self._repeat.cancel()
        self._repeat = self._loop.call_later(self._repeat_delay, self.stop, reason)
        self._task.cancel()
        if not self._begun:
            # A task that is cancelled before its first step never begins.
            self._end(Outcome(Kind.UNKNOWN_FAIL))

    def lose(self) -> None:
        """Note that the job was lost to another worker, and stop the handler if it goes on."""
        if self._reason is None:
            self.stop(Kind.LOST)
        else:
            self._reason = Kind.LOST

    def wait(self) -> asyncio.Future[Outcome]:
        """Return a Future of what the handler returned, for one caller at a time.

        Cancelling the Future does not stop the handler.
        """
        if self._ended.cancelled():
            self._ended = self._loop.create_future()
            if self._outcome is not None:
                self._ended.set_result(self._outcome)
        return self._ended

    def judge(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the attempt, given what the handler returned.

        The caller does so as late as it can: a program that cancels all its tasks may cancel the
        handler's before it cancels the one that then calls `stop`.
        """
        reason = self._reason
        if reason is None or (outcome.kind is Kind.SUCCESS and reason is not Kind.LOST):
            return outcome
        details = {"handler": outcome.kind.value, **outcome.details}
        return replace(outcome, kind=reason, details=details)
