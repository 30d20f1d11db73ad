"""Run one job at a time: check whether it may run, run its handler, settle it, report it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ..client.client import Client
from ..client.timers import LazyTimer
from ..errors import ConnectionLost, NotFound
from ..job import Job
from ..pool.pool import Pool
from ..protocol.stats import StatsJob
from .attempt import Attempt
from .blocking import BlockingReports
from .burst import Burst
from .config.settings import TubeSettings
from .events import Event, JobFinished, JobStarted, LoopBlocked, SlotReconnected
from .handlers.base import Handler, WorkerJob
from .held_job import HeldJob, HeldJobContext
from .outbox_id import Carried, unwrap
from .policy.decision import Action, SettleResult, decide
from .policy.limit import time_limit
from .policy.outcome import Kind, Outcome
from .policy.retry import budget
from .prefetch import Prefetch
from .timing import WorkerTiming


class SlotContext(Protocol):
    """A runner as its slots need it."""

    #: the jobs that run in any slot, by server (URL) and id
    running: dict[tuple[str, int], HeldJob]
    #: None: the runner does not end when no job is ready
    burst: Burst | None
    timing: WorkerTiming
    #: publishes which jobs block the loop
    blocking: BlockingReports
    #: whether an observer asks for the server's own id, which changes with each restart
    wants_server_run: bool

    def take(self) -> bool:
        """Return whether one more job may be run, and count that job."""

    def wants(self, kind: type[Event]) -> bool:
        """Return whether any observer takes events of a type."""

    def publish(self, event: Event) -> None:
        """Hand an event to the observers. Must not raise."""


class JobExecutor:
    """Run the jobs of one slot, one at a time.

    :param server: URL, which events call it by until `move_to` says otherwise
    :param slot: number of the slot among those of the tube, from 1
    :param accepts: returns whether the slot may run one more job, and counts that job
    :param reserves_next: returns whether the slot would reserve the next job at once
    :param pool: that the jobs come from; None: they come from the one server
    :param on_stranded: called when a job whose handler has ended waits for its server to come back
    """

    def __init__(
        self,
        context: SlotContext,
        server: str,
        slot: int,
        settings: TubeSettings,
        handler: Handler,
        *,
        accepts: Callable[[], bool],
        reserves_next: Callable[[], bool],
        pool: Pool | None = None,
        on_stranded: Callable[[], None] | None = None,
    ) -> None:
        self.prefetch = Prefetch(pool)
        self._loop = asyncio.get_running_loop()
        self._running = context.running
        self._publish = context.publish
        self._reports_starts = context.wants(JobStarted)
        self._reports_ends = context.wants(JobFinished)
        self._wants_server_run = context.wants_server_run
        self._server_run = ""  # of the server of the job
        #: by URL: the connection on which it was asked for its run, and that run
        self._server_runs: dict[str, tuple[object, str]] = {}
        self._timing = context.timing
        self._blocking = context.blocking
        self._server = server  # what events call it
        self._url = server
        self._tube = settings.tube
        self._slot = slot
        self._settings = settings
        self._handler = handler
        self._accepts = accepts
        self._reserves_next = reserves_next
        self._held_job: HeldJob | None = None
        self._attempt: Attempt | None = None  # while the handler runs
        self._stopped = False
        self._cancelled = False  # the task of the slot, while the handler ran
        self._limit_timer = LazyTimer(self._loop, self._time_out)
        self._touch_timer = LazyTimer(self._loop, self._touch)
        self._held_job_context = HeldJobContext(
            server, settings.tube, self._lose, self._touch_timer, context.publish, context.timing
        )
        if on_stranded is not None:
            self._held_job_context = replace(self._held_job_context, on_stranded=on_stranded)

    # --- control ---

    def move_to(self, server: str, url: str) -> None:
        """Run the next job, which the server of this name has."""
        self._url = url
        if server != self._server:
            self._server = server
            self._held_job_context = replace(self._held_job_context, server=server)

    def stop(self) -> None:
        """Stop the handler and release its job, now and of every later job."""
        self._stopped = True
        if self._attempt is not None and not self._attempt.stopping:
            self._attempt.stop(Kind.STOPPED)
        if self._held_job is not None:
            self._held_job.stop_waiting_for_server()

    def stop_again(self) -> None:
        """Cancel a handler once more that was already told to stop."""
        if self._attempt is not None:
            self._attempt.stop(Kind.STOPPED)

    def reconnected(self) -> None:
        """Take the job back, for the client has a new connection, which does not hold it."""
        self._publish(SlotReconnected(self._server, self._tube, self._slot))
        if self._held_job is not None:
            self._held_job.reconnected()

    def close(self) -> None:
        """Leave no timer in the loop. `run` may be called again."""
        self._limit_timer.close()
        self._touch_timer.close()

    def _time_out(self) -> None:
        if self._attempt is not None:
            self._attempt.stop(Kind.TIMEOUT)

    def _touch(self) -> None:
        if self._held_job is not None:
            self._held_job.touch()

    def _lose(self) -> None:
        if self._attempt is not None:
            self._attempt.lose()

    # --- a job ---

    async def run(self, client: Client, job: Job) -> Outcome | None:
        """Run a job that was just reserved, and settle it.

        Return the outcome, or None if the job was not run. When the task is cancelled while the
        handler runs, the job is released before CancelledError is raised.
        """
        self._cancelled = False
        began = self._loop.time()
        key = self._url, job.id
        try:
            counters = await client.stats_job(key[1])
            if self._wants_server_run:
                origin, self._server_run = self._server_runs.get(self._url, (None, ""))
                if origin is not job.origin or not self._server_run:
                    self._server_run = await self._ask_run(client, job)
            delay = self._refuse(key, job, counters)
            if delay is not None:
                await client.release(job, counters["pri"], delay)
                return None
        except (ConnectionLost, NotFound):
            return None  # the server has the job again
        carried, body = unwrap(job.body)
        limit = carried.attempts or self._settings.policy.max_attempts
        quota = budget(counters, limit)
        held = self._held_job = self._running[key] = HeldJob(
            client,
            job,
            counters,
            self._held_job_context,
        )
        try:
            work = self._work(job.id, body, carried, counters, quota.attempt, limit, began)
            if quota.exhausted:
                outcome = Outcome(Kind.EXHAUSTED, error=f"{limit} attempts have been made")
            else:
                if self._reports_starts:
                    self._report_start(work)
                outcome = await self._attempt_work(work)
            action = decide(
                outcome,
                self._settings.policy,
                quota.attempt,
                random.random(),
                carried.retry_delay,
            )
            if action is None:
                settled = SettleResult.LOST
            else:
                goes_on = not self._cancelled and self._reserves_next()
                prefetch = self.prefetch if goes_on else None
                settled = await held.settle(action, prefetch)
        finally:
            self._held_job = None
            if self._running.get(key) is held:
                del self._running[key]
            touching = held.close()
            if touching is not None:
                await touching
        if self._reports_ends:
            self._report_end(work, outcome, action, settled, held.reason, began)
        if self._cancelled:
            raise asyncio.CancelledError
        return outcome

    async def _ask_run(self, client: Client, job: Job) -> str:
        """Ask the server that a job was reserved from for its id; once for each connection.

        Raises ConnectionLost.
        """
        run = (await client.stats())["id"]
        self._server_runs[self._url] = job.origin, run
        return run

    def _refuse(self, key: tuple[str, int], job: Job, counters: StatsJob) -> int | None:
        """Return the delay with which to release a job at once, or None if it is to be run."""
        other = self._running.get(key)
        if other is not None and other.is_same(self._tube, job.body, counters):
            # Another slot, whose connection was lost, still runs it: it would run twice.
            other.park()
            return self._timing.parking_delay
        return None if self._accepts() else 0

    def _work(
        self,
        job_id: int,
        body: bytes,
        carried: Carried,
        counters: StatsJob,
        attempt: int,
        max_attempts: int,
        began: float,
    ) -> WorkerJob:
        settings = self._settings
        elapsed = self._loop.time() - began
        return WorkerJob(
            job_id,
            body,
            tube=self._tube,
            counters=counters,
            attempt=attempt,
            max_attempts=max_attempts,
            time_limit=time_limit(settings.timeout, counters["ttr"], elapsed),
            kill_grace=settings.kill_grace,
            server=self._url,
            slot=self._slot,
            outbox_id=carried.outbox_id,
            server_name=self._server,
        )

    def _report_start(self, work: WorkerJob) -> None:
        self._publish(
            JobStarted(
                self._server,
                self._tube,
                work.id,
                work.attempt,
                self._slot,
                work.time_limit + work.kill_grace + self._timing.back_off_delay,
                work.outbox_id,
                self._server_run,
            )
        )

    async def _attempt_work(self, work: WorkerJob) -> Outcome:
        """Run the handler, and stop it when its time is over or `stop` was called."""
        repeat_delay = work.kill_grace + self._timing.back_off_delay
        attempt = self._attempt = Attempt(self._handler, work, repeat_delay, self._report_blocking)
        self._limit_timer.set(self._loop.time() + work.time_limit)
        if self._stopped:
            attempt.stop(Kind.STOPPED)
        try:
            while True:
                try:
                    return attempt.judge(await attempt.wait())
                except asyncio.CancelledError:
                    # The task of the slot was cancelled, and ends after the job was released.
                    self._cancelled = True
                    attempt.stop(Kind.STOPPED)
        finally:
            self._attempt = None
            self._limit_timer.clear()

    def _report_blocking(self, work: WorkerJob, seconds: float) -> None:
        handler, ttr = self._handler.describe(), work.counters["ttr"]
        self._blocking.report(
            LoopBlocked(self._server, self._tube, work.id, handler, seconds, ttr)
        )

    def _report_end(
        self,
        work: WorkerJob,
        outcome: Outcome,
        action: Action | None,
        settled: SettleResult,
        reason: str,
        began: float,
    ) -> None:
        """Report a job that was settled, or was lost for a reason."""
        kind, error, details = outcome.kind, outcome.error, outcome.details
        if settled is SettleResult.LOST:
            if kind is not Kind.LOST:
                kind, details = Kind.LOST, {"handler": kind.value, **details}
            error = f"{reason}; {error}".strip("; ")
        seconds = self._loop.time() - began
        self._publish(
            JobFinished(
                self._server,
                self._tube,
                work.id,
                work.attempt,
                kind,
                action,
                settled,
                seconds,
                error,
                details,
                work.outbox_id,
                self._server_run,
                work.max_attempts - work.attempt if work.max_attempts else None,
            )
        )
