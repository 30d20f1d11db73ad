"""A slot of a pool: it works for all servers, one job after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ..client.client import Client
from ..errors import ConnectionLost, TimedOut
from ..pool.job import PoolJob
from ..pool.pool import Pool
from .config.settings import TubeSettings
from .handlers.base import Handler
from .job_executor import SlotContext
from .policy.outcome import Kind
from .slot import Slot

T = TypeVar("T")


class PoolSlot(Slot):
    """Run the jobs of a tube from whichever server has one.

    It has no connection of its own: the pool of the tube opens as many as the jobs that run and
    the servers that are waited for need.

    :param pool: of all slots of the tube, which watches it
    :param replace: has another slot take jobs in the place of this one
    """

    def __init__(
        self,
        context: SlotContext,
        server: str,
        number: int,
        settings: TubeSettings,
        handler: Handler,
        pool: Pool,
        replace: Callable[[PoolSlot], object],
    ) -> None:
        super().__init__(context, server, number, settings, handler, pool)
        #: the client that holds the job that runs
        self.holder: Client | None = None
        self._pool = pool
        self._replace = replace
        self._awaited: asyncio.Future[Any] | None = None

    def reconnected(self, client: Client) -> None:
        """Take the job back if this client held it, which has a new connection."""
        if client is self.holder:
            self._jobs.reconnected()

    def _strand(self) -> None:
        # The work is done, so another job may be run meanwhile. This slot settles its own when the
        # server is back, and ends.
        if not self._ending:
            self.drain()
            self._replace(self)

    def _interrupt(self) -> None:
        # Where a job runs, its end is awaited; what is awaited else is given up.
        if self._idle and self._awaited is not None:
            self._awaited.cancel()
        self._notify_changed()

    async def _run_client(self) -> None:
        """Run jobs until the slot is drained, stopped or paused."""
        await self._give_up_if_interrupted(self._pool.connect())
        if not self.ready.done() and not self._ending:
            self.ready.set_result(None)
        try:
            while not (self._ending or self._paused):
                self._idle = True
                job = await self._reserve_any()
                if job is not None:
                    self._idle = False
                    await self._run_job(job)
                    del job  # its connection may wait for others from now on
        finally:
            self._idle = True
            await self._jobs.prefetch.release_next()

    async def _run_job(self, job: PoolJob) -> None:
        """Run a job that was just reserved."""
        self.holder = job.client
        self._jobs.move_to(job.server, self._pool.url_of(job.server))
        try:
            outcome = await self._jobs.run(job.client, job.inner)
        finally:
            self.holder = None
        if outcome is not None and outcome.kind is Kind.NOT_STARTED:
            await self._back_off()

    async def _reserve_any(self) -> PoolJob | None:
        """Return the next job, or None when the caller is to check whether to go on."""
        burst = self._burst
        try:
            if burst is None:
                return await self._give_up_if_interrupted(self._jobs.prefetch.next(self._pool))
            mark = burst.begin_check()
            try:
                job = await self._pool.reserve(0)
            except TimedOut:
                await burst.found_none(self, mark)
                return None
            burst.found(self)
            return job
        except ConnectionLost:
            if not self._ending and not self._paused:
                await self._give_up_if_interrupted(self._pool.connect())
        return None

    async def _give_up_if_interrupted(self, future: asyncio.Future[T]) -> T | None:
        """Return the result of a Future, or None if the slot is drained, stopped or paused."""
        self._awaited = future
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled() and (self._ending or self._paused):
                return None
            raise
        finally:
            self._awaited = None
