"""A slot: one connection, on which one job after another is reserved and run."""

from __future__ import annotations

import asyncio
import contextlib

from ..client.client import Client
from ..errors import ConnectionLost, DeadlineSoon, TimedOut
from ..job import Job
from ..pool.pool import Pool
from ..protocol.arguments import DEFAULT_TUBE
from .config.settings import TubeSettings
from .events import HandlerUnavailable
from .handlers.base import CannotStart, Handler
from .job_executor import JobExecutor, SlotContext
from .policy.outcome import Kind


class Slot:
    """Run the jobs of a tube, one after another, from its first connection until it is drained.

    :param server: URL of the server, or the names of several; it stays the same when the runner
        moves to others
    :param number: of the slot among those of the tube, from 1
    :param pool: that its jobs come from; None: from the one server
    """

    def __init__(
        self,
        context: SlotContext,
        server: str,
        number: int,
        settings: TubeSettings,
        handler: Handler,
        pool: Pool | None = None,
    ) -> None:
        self.server = server
        self.tube = settings.tube
        self.number = number
        self._loop = asyncio.get_running_loop()
        #: done when the slot has watched its tube for the first time, or has ended
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._context = context
        self._burst = context.burst
        self._timing = context.timing
        self._handler = handler
        self._jobs = JobExecutor(
            context,
            server,
            number,
            settings,
            handler,
            accepts=self._accepts,
            reserves_next=self._reserves_next,
            pool=pool,
            on_stranded=None if pool is None else self._strand,
        )
        self._client: Client | None = None
        self._ending = False
        self._paused = False
        self._idle = True  # no job is reserved
        self._changed = asyncio.Event()  # replaced each time it was set

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
        self._ending = True
        self._interrupt()
        self._jobs.stop()

    def kill(self) -> None:
        """Do what `stop` does, and cancel a handler that is already stopping once more."""
        self.stop()
        # In a later turn of the loop than the first cancel: asyncio merges two of the same turn.
        self._loop.call_soon(self._jobs.stop_again)

    def pause(self) -> None:
        """Take no new job until `resume` is called."""
        self._paused = True
        self._interrupt()

    def resume(self) -> None:
        """Reserve jobs again, after `pause`."""
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

    # --- called by the job executor ---

    def _accepts(self) -> bool:
        return not self._ending and self._context.take()

    def _reserves_next(self) -> bool:
        return not (self._ending or self._paused) and self._burst is None

    def _strand(self) -> None:
        """Do what is due when a job waits for its server, while other servers have jobs."""

    # --- connections ---

    async def run(self) -> None:
        """Work until the slot is drained or stopped.

        Any exception, CancelledError included, comes from a defect or from outside; then the slot
        can be run again, and meanwhile still belongs to the burst.
        """
        if self._burst is not None:
            self._burst.join(self)
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
            self._jobs.close()
            if self._ending:
                self._set_ended()

    def _set_ended(self) -> None:
        if self._burst is not None:
            self._burst.leave(self)
        if not self.ready.done():
            self.ready.set_result(None)

    async def _run_client(self) -> None:
        """Connect a client and run jobs on it until the slot is drained, stopped or paused."""
        client = self._client = Client.from_url(
            self.server,
            connect_timeout=None,
            max_reconnect_delay=self._timing.max_reconnect_delay,
        )
        client.set_reconnect_callback(self._jobs.reconnected)
        try:
            await client.connect()
            await client.watch(self.tube)
            if self.tube != DEFAULT_TUBE:
                await client.ignore(DEFAULT_TUBE)
            if not self.ready.done():
                self.ready.set_result(None)
            while not (self._ending or self._paused):
                self._idle = True
                job = await self._reserve(client)
                if job is not None:
                    self._idle = False
                    outcome = await self._jobs.run(client, job)
                    if outcome is not None and outcome.kind is Kind.NOT_STARTED:
                        await self._back_off()
        finally:
            self._idle = True
            self._jobs.prefetch.cancel()
            await client.close()
            self._client = None

    async def _reserve(self, client: Client) -> Job | None:
        """Return the next job, or None when the caller is to check whether to go on."""
        burst = self._burst
        try:
            if burst is None:
                job: Job = await self._jobs.prefetch.next(client)
                return job
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
