"""A job that is held for a handler: kept reserved, taken back after a lost connection, settled."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..client.client import Client
from ..client.timers import LazyTimer
from ..errors import (
    BeanstalkException,
    Buried,
    CommandFailed,
    ConnectionLost,
    NotFound,
    UnexpectedResponse,
)
from ..job import Job
from ..protocol.stats import StatsJob
from .events import Event, JobEvent, JobNotSettled, JobNotTakenBack, JobNotTouched, JobTakenBack
from .policy.decision import Action, SettleResult, Verb
from .prefetch import Prefetch
from .timing import WorkerTiming

RECOVERY_ATTEMPTS = 5
"""How often a job that some worker has reserved is looked at before it counts as lost. That worker
may be a slot of the same runner, which is about to release the job."""


_BROKEN = (ConnectionLost, UnexpectedResponse)
"""Errors after which the client connects anew, and no longer holds the job."""


class RecoveryResult(enum.Enum):
    """What has become of a job that was held by a connection that is gone."""

    OURS = "ours again"
    GONE = "it no longer exists"
    OTHER = "another job has its id"
    TAKEN = "another worker has it"
    DELAYED = "another worker released it"
    BURIED = "another worker buried it"
    CLOSED = "the runner was told to stop, and the server does not answer"


def _nothing() -> None:
    """Do nothing: a slot of one server waits for that."""


@dataclass(frozen=True)
class HeldJobContext:
    """What all held jobs of a slot have in common.

    :ivar server: what events call the server that has the jobs
    :ivar on_lost: called once if a job cannot be taken back while its handler runs
    :ivar touch_timer: its callback calls `touch` of the job that is held
    :ivar publish: takes events
    :ivar on_stranded: called when a job whose handler has ended waits for its server to come back
    """

    server: str
    tube: str
    on_lost: Callable[[], None]
    touch_timer: LazyTimer
    publish: Callable[[Event], None]
    timing: WorkerTiming
    on_stranded: Callable[[], None] = _nothing


class HeldJob:
    """Hold one job from its reserve until it is settled, over a client that holds no other.

    The job is touched each time a third of its ttr has passed. It is taken back after the
    connection was lost, and after its ttr has passed because this machine stood still, provided
    that it is still the same job and no other worker has reserved it.

    :param counters: the job's statistics, just after it was reserved
    """

    def __init__(
        self, client: Client, job: Job, counters: StatsJob, context: HeldJobContext
    ) -> None:
        self.body = job.body
        #: why the job was lost; empty while it is not
        self.reason = ""
        self._client = client
        self._job = job
        self._context = context
        self._priority = counters["pri"]
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._age = counters["age"]
        self._touch_interval = max(counters["ttr"], 1) / 3
        context.touch_timer.set(self._since + self._touch_interval)
        self._task: asyncio.Task[None] | None = None  # a touch under way, and what follows
        self._settling = False
        self._lost = False
        self._parked = False  # another slot of this runner released it, delayed
        self._waits_for_server = True
        self._connected: asyncio.Event | None = None  # while the job is taken back

    # --- called by the slot ---

    def reconnected(self) -> None:
        """Take the job back, for the client has a new connection, which does not hold it."""
        if self._connected is not None:
            self._connected.set()
        if self._task is None and not self._settling and not self._lost:
            self._context.touch_timer.clear()
            self.touch()

    def park(self) -> None:
        """Note that another slot of this runner has got the job and will release it, delayed."""
        self._parked = True

    def stop_waiting_for_server(self) -> None:
        """Give the job up if the server cannot be reached now."""
        self._waits_for_server = False
        if self._connected is not None:
            self._connected.set()

    def is_same(self, tube: str, body: bytes, counters: StatsJob) -> bool:
        """Return whether a job on the same server with the same id is this job.

        A server that was restarted assigns the same ids again. A job that was put again, with
        the same body, is younger than this one.
        """
        elapsed = self._loop.time() - self._since
        return (
            tube == self._context.tube
            and body == self.body
            and counters["age"] + self._context.timing.age_tolerance >= self._age + elapsed
        )

    # --- keeping the job reserved ---

    def touch(self) -> None:
        """Prolong the reservation, in a task of its own."""
        self._task = self._loop.create_task(self._keep())

    async def _keep(self) -> None:
        try:
            await self._client.touch(self._job)
        except (*_BROKEN, NotFound):
            result = await self._recover()
            if result is not RecoveryResult.OURS:
                self._lose(result)
        except BeanstalkException as error:
            self._report(JobNotTouched, error)
        self._task = None
        if not self._settling and not self._lost:
            self._context.touch_timer.set(self._loop.time() + self._touch_interval)

    def _lose(self, result: RecoveryResult) -> None:
        self._lost = True
        self.reason = result.value
        if not self._settling:
            self._context.on_lost()

    def _report(self, kind: type[JobEvent], *values: object) -> None:
        context = self._context
        context.publish(kind(context.server, context.tube, self._job.id, *values))

    # --- taking the job back ---

    async def _recover(self) -> RecoveryResult:
        while True:
            connected = self._connected = asyncio.Event()
            try:
                return await self._take_back()
            except _BROKEN:
                if not self._waits_for_server:
                    return RecoveryResult.CLOSED
                if self._settling:
                    self._context.on_stranded()
                await connected.wait()
            except BeanstalkException as error:
                self._report(JobNotTakenBack, error)
                return RecoveryResult.TAKEN

    async def _take_back(self) -> RecoveryResult:
        job_id = self._job.id
        for _ in range(RECOVERY_ATTEMPTS):
            try:
                found = await self._client.peek(job_id)
                counters = await self._client.stats_job(job_id)
            except NotFound:
                return RecoveryResult.GONE
            if not self.is_same(counters["tube"], found.body, counters):
                return RecoveryResult.OTHER
            state = counters["state"]
            if state == "buried":
                return RecoveryResult.BURIED
            if state == "delayed" and not self._parked:
                return RecoveryResult.DELAYED
            if state != "reserved" and await self._reserve_again(job_id):
                # Another worker may have reserved and lost it meanwhile.
                self._report(JobTakenBack)
                return RecoveryResult.OURS
            await asyncio.sleep(self._context.timing.recovery_delay)
        return RecoveryResult.TAKEN

    async def _reserve_again(self, job_id: int) -> bool:
        try:
            self._job = await self._client.reserve_job(job_id)
        except NotFound:  # another worker has just reserved it
            return False
        self._parked = False
        return True

    # --- settling the job ---

    async def settle(self, action: Action, prefetch: Prefetch | None = None) -> SettleResult:
        """Settle the job, on this connection or on a later one.

        :param prefetch: reserves the next job if this one is deleted
        """
        self._settling = True
        self._context.touch_timer.clear()
        if self._task is not None:
            await self._task
        sent = False  # a command to settle the job was sent, and its reply was lost
        while not self._lost:
            try:
                await self._carry_out(action, prefetch)
                return SettleResult.DONE
            except Buried:
                return SettleResult.BURIED
            except NotFound:
                pass
            except ConnectionLost as error:
                sent = sent or error.sent
            except UnexpectedResponse:
                sent = True
            except CommandFailed as error:
                self._report(JobNotSettled, error)
                return SettleResult.REFUSED
            result = await self._recover()
            if sent and result is _RESULTS.get(action.verb):
                return SettleResult.PRESUMED
            if result is not RecoveryResult.OURS:
                self._lose(result)
        return SettleResult.LOST

    def _carry_out(self, action: Action, prefetch: Prefetch | None) -> Awaitable[None]:
        # The job keeps its priority, which release and bury must send along.
        if action.verb is Verb.DELETE:
            if prefetch is not None:
                return prefetch.delete(self._client, self._job)
            return self._client.delete(self._job)
        if action.verb is Verb.BURY:
            return self._client.bury(self._job, self._priority)
        return self._client.release(self._job, self._priority, action.delay or 0)

    def close(self) -> asyncio.Task[None] | None:
        """Stop touching the job. Return a task to wait for, if a touch is under way."""
        if not self._settling:
            self._settling = True
            self._context.touch_timer.clear()
        if self._task is not None:
            self.stop_waiting_for_server()
        return self._task


_RESULTS = {
    Verb.DELETE: RecoveryResult.GONE,
    Verb.BURY: RecoveryResult.BURIED,
    Verb.RELEASE: RecoveryResult.DELAYED,
}
"""Where a job is found if the command that settles it was carried out and only its reply was lost.
(A job that was released without a delay is ready, or reserved by another worker: it is released
again, or counts as lost.)"""
