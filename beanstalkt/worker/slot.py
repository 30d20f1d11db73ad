"""One connection, one job at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import replace
from typing import Protocol

from ..client.client import Client
from ..errors import ConnectionLost, DeadlineSoon, NotFound, TimedOut
from ..job import Job
from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.stats import StatsJob
from .alarm import Alarm
from .attempt import Attempt
from .burst import Burst
from .config.settings import TubeSettings
from .handlers.base import CannotStart, Handler, Work
from .held_job import PARKED, Reservation, Settled
from .log.lines import log, tell
from .policy.decision import Action, decide
from .policy.outcome import Kind, Outcome
from .policy.retry import Budget, budget
from .prefetch import Ahead

MAX_RECONNECT_DELAY = 10.0
"""Seconds between two attempts to reach a server that stays away."""

MAX_BACK_OFF = 60.0
"""Seconds that a slot whose handler cannot start waits at most before it looks again."""

PAUSE = 1.0
"""Seconds that a slot waits after something that must not happen again at once."""


class Boss(Protocol):
    """What a slot needs of the runner."""

    server: str
    #: the jobs that run in any slot, by their ids
    running: dict[int, Reservation]
    burst: Burst | None

    def take(self) -> bool:
        """Whether one more job may be run."""

    def ended(self, outcome: Outcome) -> None:
        """A job has ended."""


class Slot:
    """A worker for one tube, from its first connection to its last job.

    :param number: from 1, among the slots of the tube
    """

    def __init__(
        self, boss: Boss, tube: str, number: int, settings: TubeSettings, handler: Handler
    ) -> None:
        self.tube = tube
        self.number = number
        #: done when it has watched its tube for the first time, or has ended
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._boss = boss
        self._settings = settings
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._client: Client | None = None
        self._ending = False
        self._paused = False
        self._idle = True  # no job was reserved
        self._changed = asyncio.Event()  # it was told something; replaced when it was used
        self._ahead = Ahead()
        self._reservation: Reservation | None = None
        self._attempt: Attempt | None = None  # while the handler runs
        self._reason: Kind | None = None  # why the handler was told to stop
        self._again: asyncio.TimerHandle | None = None  # tells it again
        self._limit = Alarm(self._loop)  # the handler's time is over
        self._touch = Alarm(self._loop)  # the reservation's
        self._now = False  # told to stop now
        self._cancelled = False  # its task was cancelled while a job ran

    # --- what it is told ---

    def drain(self) -> None:
        """Take no new job, finish the one that runs, end."""
        self._ending = True
        self._interrupt()

    def stop(self) -> None:
        """The same, but stop the job that runs, and release it."""
        self._ending = self._now = True
        self._interrupt()
        if self._reason is None:
            self._stop_handler(Kind.STOPPED)
        if self._reservation is not None:
            self._reservation.hurry()

    def kill(self) -> None:
        """The same, without mercy."""
        self.stop()
        # Not in one turn of the loop with the first cancel, or both would be one.
        self._loop.call_soon(self._stop_handler, Kind.STOPPED)

    def pause(self) -> None:
        """Take no new job for now."""
        self._paused = True
        self._interrupt()

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        self._tell()

    def _interrupt(self) -> None:
        # Closing is what ends a waiting reserve at the server as well: a job that is on its
        # way is ready again at once.
        if self._idle and self._client is not None:
            self._client.close()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- its life ---

    @property
    def ending(self) -> bool:
        """Whether it has been told to end."""
        return self._ending

    async def run(self) -> None:
        """Work until told to end. What it raises, CancelledError included, was not meant to
        happen, and it can be run again; meanwhile it still belongs to the burst."""
        self._cancelled = False
        if self._boss.burst is not None:
            self._boss.burst.join(self)
        try:
            while not self._ending:
                if self._paused:
                    await self._changed.wait()
                    continue
                try:
                    await self._session()
                except ConnectionLost:
                    # Closed by ourselves; or it breaks as soon as it is made.
                    if not (self._ending or self._paused):
                        await self.rest(PAUSE)
        finally:
            self._limit.stop()
            self._touch.stop()
            if self._ending:
                self._end()

    def _end(self) -> None:
        if self._boss.burst is not None:
            self._boss.burst.leave(self)
        if not self.ready.done():
            self.ready.set_result(None)

    async def _session(self) -> None:
        """The life of one client."""
        client = self._client = Client.from_url(
            self._boss.server, connect_timeout=None, max_reconnect_delay=MAX_RECONNECT_DELAY
        )
        client.set_reconnect_callback(self._reconnected)
        try:
            await client.connect()
            await client.watch(self.tube)
            if self.tube != DEFAULT_TUBE:
                await client.ignore(DEFAULT_TUBE)
            if not self.ready.done():
                self.ready.set_result(None)
            while not (self._ending or self._paused):
                job = await self._next(client)
                if job is not None:
                    self._idle = False
                    try:
                        await self._work(client, job)
                    finally:
                        self._idle = True
                    if self._cancelled:
                        raise asyncio.CancelledError
        finally:
            self._ahead.drop()
            await client.close()
            self._client = None

    def _reconnected(self) -> None:
        if self._reservation is not None:
            self._reservation.reconnected()

    async def _next(self, client: Client) -> Job | None:
        burst = self._boss.burst
        try:
            if burst is None:
                return await self._ahead.next(client)
            looked = burst.look()
            try:
                job = await client.reserve(0)
            except TimedOut:
                await burst.nothing(self, looked)
                return None
            burst.found(self)
            return job
        except DeadlineSoon:
            # A job of ours that the server did not let us settle is running out.
            await self.rest(PAUSE)
        except ConnectionLost:
            if not self._ending and not self._paused:
                await client.connect()
        return None

    @property
    def _goes_on(self) -> bool:
        """Whether it would reserve the next job at once."""
        held = self._ending or self._paused or self._cancelled
        return not held and self._boss.burst is None

    async def rest(self, seconds: float) -> None:
        """Sleep, but not while being told something."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    # --- a job ---

    async def _work(self, client: Client, job: Job) -> None:
        began = self._loop.time()
        job_id = job.id
        try:
            counters = await client.stats_job(job_id)
            delay = self._refused(job_id, job.body, counters)
            if delay is not None:
                await client.release(job, counters["pri"], delay)
                return
        except (ConnectionLost, NotFound):
            return  # it is the server's again
        quota = budget(counters, self._settings.policy.max_attempts)
        reservation = Reservation(client, job, self.tube, counters, self._lost, self._touch)
        self._boss.running[job_id] = self._reservation = reservation
        try:
            outcome = await self._outcome(job, counters, quota, began)
            action = decide(outcome, self._settings.policy, quota.attempt, random.random())
            if action is None:
                settled = Settled.LOST
            else:
                settled = await reservation.settle(action, self._ahead if self._goes_on else None)
        finally:
            self._reservation = None
            if self._boss.running.get(job_id) is reservation:
                del self._boss.running[job_id]
            await reservation.close()
        if settled is Settled.LOST and outcome.kind is not Kind.LOST:
            details = {"handler": outcome.kind.value, **outcome.details}
            outcome = replace(outcome, kind=Kind.LOST, details=details)
        if outcome.kind is Kind.LOST:
            outcome = replace(outcome, error=f"{reservation.reason}; {outcome.error}".strip("; "))
        self._report(job, outcome, action, settled, quota.attempt, self._loop.time() - began)
        if outcome.kind is Kind.NOT_STARTED:
            await self._back_off()

    def _refused(self, job_id: int, body: bytes, counters: StatsJob) -> int | None:
        """None if it is to be run here and now; else the delay with which to give it back."""
        other = self._boss.running.get(job_id)
        if other is not None and other.same(self.tube, body, counters):
            # It runs in another slot, whose connection was lost. It would run twice.
            other.park()
            return PARKED
        return None if not self._ending and self._boss.take() else 0

    async def _outcome(self, job: Job, counters: StatsJob, quota: Budget, began: float) -> Outcome:
        if quota.exhausted:
            limit = self._settings.policy.max_attempts
            return Outcome(Kind.EXHAUSTED, error=f"{limit} attempts have been made")
        work = Work(
            job.id,
            job.body,
            tube=self.tube,
            counters=counters,
            attempt=quota.attempt,
            max_attempts=self._settings.policy.max_attempts,
            time_limit=time_limit(
                self._settings.timeout, counters["ttr"], began, self._loop.time()
            ),
            kill_grace=self._settings.kill_grace,
            server=self._boss.server,
            slot=self.number,
        )
        outcome = await self._handle(work)
        reason, self._reason = self._reason, None
        if reason is None or (outcome.kind is Kind.SUCCESS and reason is not Kind.LOST):
            return outcome
        return replace(
            outcome, kind=reason, details={"handler": outcome.kind.value, **outcome.details}
        )

    async def _handle(self, work: Work) -> Outcome:
        """What the handler says, or what its end means."""
        attempt = self._attempt = Attempt(self._handler, work)
        self._limit.set(work.time_limit, self._time_out)
        if self._now:
            self._stop_handler(Kind.STOPPED)
        try:
            while True:
                try:
                    return await attempt.wait()
                except asyncio.CancelledError:
                    # The slot was cancelled, not the job: that is released, and then it ends.
                    self._cancelled = True
                    self._stop_handler(Kind.STOPPED)
        finally:
            self._attempt = None
            self._limit.clear()
            if self._again is not None:
                self._again.cancel()
                self._again = None

    def _stop_handler(self, reason: Kind) -> None:
        if self._attempt is None:
            return
        if self._reason is None or reason is Kind.LOST:
            self._reason = reason
        self._attempt.cancel()
        if self._again is not None:
            self._again.cancel()
        # A handler that has caught the first one and goes on must not go on for ever.
        self._again = self._loop.call_later(
            self._settings.kill_grace + PAUSE, self._stop_handler, reason
        )

    def _time_out(self) -> None:
        self._stop_handler(Kind.TIMEOUT)

    def _lost(self) -> None:
        if self._reason is None:
            self._stop_handler(Kind.LOST)
        else:
            self._reason = Kind.LOST

    def _report(
        self,
        job: Job,
        outcome: Outcome,
        action: Action | None,
        settled: Settled,
        attempt: int,
        seconds: float,
    ) -> None:
        self._boss.ended(outcome)
        level = logging.INFO if outcome.kind is Kind.SUCCESS else logging.WARNING
        if "swallowed" in outcome.details:
            tell("swallowed", {**outcome.details, "error": outcome.error}, logging.WARNING)
        if not log.isEnabledFor(level):
            return
        fields: dict[str, object] = {
            "tube": self.tube,
            "id": job.id,
            "outcome": outcome.kind.value,
            "action": _action(action, settled),
            "seconds": round(seconds, 3),
            "attempt": attempt,
            **outcome.details,
        }
        if settled is Settled.PRESUMED:
            fields["answer"] = "lost"
        if outcome.error:
            fields["error"] = outcome.error
        tell("job", fields, level)

    async def _back_off(self) -> None:
        """Reserve nothing while nothing can be run: a job would lose its attempts for nothing."""
        delay = PAUSE
        while not self._ending:
            await self.rest(delay)
            delay = min(2 * delay, MAX_BACK_OFF)
            try:
                self._handler.check()
            except CannotStart as error:
                log.error("tube %s: %s", self.tube, error)
            else:
                return


def time_limit(timeout: float | None, ttr: int, began: float, now: float) -> float:
    """Seconds from now that the handler may take.

    Without a timeout it has to end before the ttr does, which runs since the job was reserved.
    """
    if timeout is not None:
        return timeout
    ttr = max(ttr, 1)
    return max(ttr - min(ttr / 10, 1.0) - (now - began), 0.0)


def _action(action: Action | None, settled: Settled) -> str:
    if settled in (Settled.DONE, Settled.PRESUMED) and action is not None:
        return str(action)
    return "none" if settled is Settled.LOST else settled.value
