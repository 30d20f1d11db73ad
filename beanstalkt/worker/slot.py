"""A slot: one connection, on which one job at a time is reserved, run and settled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Protocol

from ..client.client import Client
from ..client.timers import LazyTimer
from ..errors import ConnectionLost, DeadlineSoon, NotFound, TimedOut
from ..job import Job
from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.stats import StatsJob
from .attempt import Attempt
from .burst import Burst
from .config.settings import TubeSettings
from .events import Event, HandlerUnavailable, JobFinished, JobStarted
from .handlers.base import CannotStart, Handler, Work
from .held_job import HeldJob
from .policy.decision import Action, SettleResult, decide
from .policy.limit import time_limit
from .policy.outcome import Kind, Outcome
from .policy.retry import Budget, budget
from .prefetch import Prefetch
from .timing import WorkerTiming


class SlotContext(Protocol):
    """A runner as its slots need it."""

    #: the jobs that run in any slot, by server (URL) and id
    running: dict[tuple[str, int], HeldJob]
    #: None: the runner does not end when no job is ready
    burst: Burst | None
    timing: WorkerTiming

    def take(self) -> bool:
        """Return whether one more job may be run, and count that job."""

    def publish(self, event: Event) -> None:
        """Hand an event to the observers. Must not raise."""


class Slot:
    """Runs the jobs of a tube, one after another, from its first connection until it is drained.

    :param server: URL of the server, which stays the same when the runner moves to another one
    :param number: of the slot among those of the tube, from 1
    """

    def __init__(
        self,
        context: SlotContext,
        server: str,
        tube: str,
        number: int,
        settings: TubeSettings,
        handler: Handler,
    ) -> None:
        self.server = server
        self.tube = tube
        self.number = number
        self._loop = asyncio.get_running_loop()
        #: done when the slot has watched its tube for the first time, or has ended
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._context = context
        self._timing = context.timing
        self._settings = settings
        self._handler = handler
        self._client: Client | None = None
        self._ending = False
        self._paused = False
        self._stopped = False  # jobs are stopped at once
        self._cancelled = False  # the task was cancelled while a job ran
        self._idle = True  # no job is reserved
        self._changed = asyncio.Event()  # replaced each time it was set
        self._prefetch = Prefetch()
        self._held_job: HeldJob | None = None
        self._attempt: Attempt | None = None  # while the handler runs
        self._limit_timer = LazyTimer(self._loop, self._time_out)
        self._touch_timer = LazyTimer(self._loop, self._touch)

    # --- control ---

    @property
    def ending(self) -> bool:
        """Whether the slot takes no more jobs, and ends after the one that runs."""
        return self._ending

    def drain(self) -> None:
        """Take no new job, finish the one that runs, and end."""
        self._ending = True
        self._interrupt()

    def stop(self) -> None:
        """Take no new job, stop and release the one that runs, and end."""
        self._ending = self._stopped = True
        self._interrupt()
        if self._attempt is not None and not self._attempt.stopping:
            self._attempt.stop(Kind.STOPPED)
        if self._held_job is not None:
            self._held_job.stop_waiting_for_server()

    def kill(self) -> None:
        """Do what `stop` does, and cancel a handler that is already stopping once more."""
        self.stop()
        # In a later turn of the loop than the first cancel: asyncio merges two of the same turn.
        self._loop.call_soon(self._stop_handler)

    def pause(self) -> None:
        """Take no new job until `resume` is called."""
        self._paused = True
        self._interrupt()

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        self._notify_changed()

    def _interrupt(self) -> None:
        # Closing the connection also cancels a waiting reserve at the server, and a job that the
        # server has already sent is ready again at once.
        if self._idle and self._client is not None:
            self._client.close()
        self._notify_changed()

    def _notify_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def rest(self, seconds: float) -> None:
        """Sleep until the time is over, or the slot is drained, stopped, paused or resumed."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    # --- connections ---

    async def run(self) -> None:
        """Work until the slot is drained or stopped.

        Any exception, CancelledError included, comes from a defect or from outside; then the slot
        can be run again, and meanwhile still belongs to the burst.
        """
        self._cancelled = False
        if self._context.burst is not None:
            self._context.burst.join(self)
        try:
            while not self._ending:
                if self._paused:
                    await self._changed.wait()
                    continue
                try:
                    await self._run_client()
                except ConnectionLost:
                    # Either `_interrupt` closed the client, or connections break at once.
                    if not (self._ending or self._paused):
                        await self.rest(self._timing.back_off_delay)
        finally:
            self._limit_timer.close()
            self._touch_timer.close()
            if self._ending:
                self._set_ended()

    def _set_ended(self) -> None:
        if self._context.burst is not None:
            self._context.burst.leave(self)
        if not self.ready.done():
            self.ready.set_result(None)

    async def _run_client(self) -> None:
        """Connect a client and run jobs on it until the slot is drained, stopped or paused."""
        client = self._client = Client.from_url(
            self.server,
            connect_timeout=None,
            max_reconnect_delay=self._timing.max_reconnect_delay,
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
                job = await self._reserve(client)
                if job is not None:
                    self._idle = False
                    try:
                        await self._run_job(client, job)
                    finally:
                        self._idle = True
                    if self._cancelled:
                        raise asyncio.CancelledError
        finally:
            self._prefetch.cancel()
            await client.close()
            self._client = None

    def _reconnected(self) -> None:
        if self._held_job is not None:
            self._held_job.reconnected()

    async def _reserve(self, client: Client) -> Job | None:
        """Return the next job, or None when the caller is to check whether to go on."""
        burst = self._context.burst
        try:
            if burst is None:
                return await self._prefetch.next(client)
            mark = burst.begin_check()
            try:
                job = await client.reserve(0)
            except TimedOut:
                await burst.found_none(self, mark)
                return None
            burst.found(self)
            return job
        except DeadlineSoon:
            # The ttr of a job that the server did not let this slot settle is nearly over.
            await self.rest(self._timing.back_off_delay)
        except ConnectionLost:
            if not self._ending and not self._paused:
                await client.connect()
        return None

    @property
    def _reserves_next(self) -> bool:
        """Whether the slot would reserve the next job at once, without a timeout."""
        stays = self._ending or self._paused or self._cancelled
        return not stays and self._context.burst is None

    # --- a job ---

    async def _run_job(self, client: Client, job: Job) -> None:
        began = self._loop.time()
        try:
            counters = await client.stats_job(job.id)
            delay = self._refuse(job, counters)
            if delay is not None:
                await client.release(job, counters["pri"], delay)
                return
        except (ConnectionLost, NotFound):
            return  # the server has the job again
        quota = budget(counters, self._settings.policy.max_attempts)
        key = self.server, job.id
        held = self._held_job = self._context.running[key] = HeldJob(
            client,
            job,
            counters,
            server=self.server,
            tube=self.tube,
            on_lost=self._stop_lost,
            touch_timer=self._touch_timer,
            publish=self._context.publish,
            timing=self._timing,
        )
        try:
            outcome = await self._attempt_job(job, counters, quota, began)
            action = decide(outcome, self._settings.policy, quota.attempt, random.random())
            if action is None:
                settled = SettleResult.LOST
            else:
                settled = await held.settle(
                    action, self._prefetch if self._reserves_next else None
                )
        finally:
            self._held_job = None
            if self._context.running.get(key) is held:
                del self._context.running[key]
            await held.close()
        seconds = self._loop.time() - began
        self._publish_end(job.id, quota.attempt, outcome, action, settled, seconds, held.reason)
        if outcome.kind is Kind.NOT_STARTED:
            await self._back_off()

    def _refuse(self, job: Job, counters: StatsJob) -> int | None:
        """Return the delay with which to release a job at once, or None if it is to be run."""
        other = self._context.running.get((self.server, job.id))
        if other is not None and other.is_same(self.tube, job.body, counters):
            # Another slot, whose connection was lost, still runs it: it would run twice.
            other.park()
            return self._timing.parking_delay
        return None if not self._ending and self._context.take() else 0

    async def _attempt_job(
        self, job: Job, counters: StatsJob, quota: Budget, began: float
    ) -> Outcome:
        settings = self._settings
        if quota.exhausted:
            limit = settings.policy.max_attempts
            return Outcome(Kind.EXHAUSTED, error=f"{limit} attempts have been made")
        work = Work(
            job.id,
            job.body,
            tube=self.tube,
            counters=counters,
            attempt=quota.attempt,
            max_attempts=settings.policy.max_attempts,
            time_limit=time_limit(settings.timeout, counters["ttr"], self._loop.time() - began),
            kill_grace=settings.kill_grace,
            server=self.server,
            slot=self.number,
        )
        self._context.publish(
            JobStarted(self.server, self.tube, job.id, quota.attempt, self.number)
        )
        return await self._handle(work)

    async def _handle(self, work: Work) -> Outcome:
        """Run the handler, and stop it when its time is over or the slot is stopped."""
        attempt = self._attempt = Attempt(
            self._handler, work, self._settings.kill_grace + self._timing.back_off_delay
        )
        self._limit_timer.set(self._loop.time() + work.time_limit)
        if self._stopped:
            attempt.stop(Kind.STOPPED)
        try:
            while True:
                try:
                    return await attempt.wait()
                except asyncio.CancelledError:
                    # The task of the slot was cancelled: it ends after the job was released.
                    self._cancelled = True
                    attempt.stop(Kind.STOPPED)
        finally:
            self._attempt = None
            self._limit_timer.clear()

    def _stop_handler(self, reason: Kind = Kind.STOPPED) -> None:
        if self._attempt is not None:
            self._attempt.stop(reason)

    def _time_out(self) -> None:
        self._stop_handler(Kind.TIMEOUT)

    def _stop_lost(self) -> None:
        if self._attempt is not None:
            self._attempt.lose()

    def _touch(self) -> None:
        if self._held_job is not None:
            self._held_job.touch()

    def _publish_end(
        self,
        job_id: int,
        attempt: int,
        outcome: Outcome,
        action: Action | None,
        settled: SettleResult,
        seconds: float,
        reason: str,
    ) -> None:
        kind, error, details = outcome.kind, outcome.error, outcome.details
        if settled is SettleResult.LOST:
            if kind is not Kind.LOST:
                kind, details = Kind.LOST, {"handler": kind.value, **details}
            error = f"{reason}; {error}".strip("; ")
        self._context.publish(
            JobFinished(
                self.server,
                self.tube,
                job_id,
                attempt,
                kind,
                action,
                settled,
                seconds,
                error,
                details,
            )
        )

    async def _back_off(self) -> None:
        """Reserve no job until the handler can run one: each reserve would count as an attempt."""
        delay = self._timing.back_off_delay
        while not self._ending:
            await self.rest(delay)
            delay = min(2 * delay, self._timing.max_back_off_delay)
            try:
                self._handler.check()
            except CannotStart as error:
                self._context.publish(HandlerUnavailable(self.server, self.tube, error))
            else:
                return
