"""A job that is held for a handler: kept reserved, taken back after a lost connection, settled."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from ..client.client import Client
from ..errors import (
    BeanstalkException,
    Buried,
    CommandFailed,
    ConnectionLost,
    NotFound,
    UnexpectedResponse,
    UnknownCommand,
)
from ..job import Job
from ..protocol.stats import StatsJob
from .alarm import Alarm
from .log.lines import log, tell
from .policy.decision import Action, Verb
from .prefetch import Ahead

PARKED = 15
"""Seconds that a job is put off when another slot of ours got it while it was running here: more
than reconnecting takes."""

AGE_SLACK = 2
"""Seconds by which a job's age may be off: it is told in whole seconds, and clocks are set."""

TRIES = 5
"""How often a job that somebody holds is looked at before it is given up ..."""

TRY_PAUSE = 0.2
"""... and seconds between. Somebody may be a slot of ours that is just about to hand it over."""


_BROKEN = (ConnectionLost, UnexpectedResponse)
"""Either way there will be another connection, which does not hold the job."""


class Fate(enum.Enum):
    """What a look at the server finds to have become of a job."""

    OURS = "ours again"
    GONE = "it no longer exists"
    OTHER = "another job has its id"
    TAKEN = "another worker has it"
    DELAYED = "another worker released it"
    BURIED = "another worker buried it"
    CLOSED = "the runner was told to stop, and the server does not answer"


class Settled(enum.Enum):
    """How an attempt to settle a job ended."""

    DONE = "done"
    #: the answer got lost with the connection, and the job is where it would be then; another
    #: worker may have had it in between, and have done the same
    PRESUMED = "presumed"
    #: the server had no memory for the release
    BURIED = "buried by the server"
    #: the server refused; it has the job, and nobody can reach it before a restart of the server
    REFUSED = "refused"
    LOST = "lost"


class Reservation:
    """Holds one job from its reserve to its settling, over one client that holds no other.

    The job is touched at every third of its ttr. When the connection was lost, or the job's
    time was over because this machine stood still, it is taken back if it is still the same
    job and nobody has it.

    :param on_lost: called once when the job could not be taken back
    :param alarm: for the touches, and for nothing else before `close`
    """

    def __init__(
        self,
        client: Client,
        job: Job,
        tube: str,
        counters: StatsJob,
        on_lost: Callable[[], None],
        alarm: Alarm,
    ) -> None:
        self.body = job.body
        self.tube = tube
        #: why the job was lost
        self.reason = ""
        self._client = client
        self._job = job
        self._priority = counters["pri"]
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._age = counters["age"]
        self._interval = max(counters["ttr"], 1) / 3
        self._alarm = alarm
        alarm.set(self._interval, self._tick)
        self._task: asyncio.Task[None] | None = None  # a touch under way, and what follows
        self._settling = False
        self._lost = False
        self._parked = False  # released by another slot of ours, for us
        self._patient = True  # waits for a server that is gone
        self._connected: asyncio.Event | None = None  # while it is taken back

    # --- what the slot tells ---

    def reconnected(self) -> None:
        """The client has another connection, which does not hold the job."""
        if self._connected is not None:
            self._connected.set()
        if self._task is None and not self._settling and not self._lost:
            self._alarm.clear()
            self._tick()

    def park(self) -> None:
        """Another slot of ours got the job and is about to release it, delayed, for us."""
        self._parked = True

    def hurry(self) -> None:
        """Wait no longer for a server that is gone."""
        self._patient = False
        if self._connected is not None:
            self._connected.set()

    def same(self, tube: str, body: bytes, counters: StatsJob) -> bool:
        """Whether a job with our id is our job: a server that was restarted uses ids again.

        A job that was put again, with the same body, is younger than ours.
        """
        elapsed = self._loop.time() - self._since
        return (
            tube == self.tube
            and body == self.body
            and counters["age"] + AGE_SLACK >= self._age + elapsed
        )

    # --- keeping ---

    def _tick(self) -> None:
        self._task = self._loop.create_task(self._keep())

    async def _keep(self) -> None:
        try:
            await self._client.touch(self._job)
        except (*_BROKEN, NotFound):
            fate = await self._recover()
            if fate is not Fate.OURS:
                self._lose(fate)
        except BeanstalkException as error:
            log.warning("job %d: %s", self._job.id, error)
        self._task = None
        if not self._settling and not self._lost:
            self._alarm.set(self._interval, self._tick)

    def _lose(self, fate: Fate) -> None:
        self._lost = True
        self.reason = fate.value
        if not self._settling:
            self._on_lost()

    # --- taking back ---

    async def _recover(self) -> Fate:
        while True:
            connected = self._connected = asyncio.Event()
            try:
                return await self._take_back()
            except UnknownCommand:
                log.warning("this server cannot give a job back to its worker: it is too old")
                return Fate.TAKEN
            except _BROKEN:
                if not self._patient:
                    return Fate.CLOSED
                await connected.wait()
            except BeanstalkException as error:
                log.error("job %d: cannot take it back: %s", self._job.id, error)
                return Fate.TAKEN

    async def _take_back(self) -> Fate:
        job_id = self._job.id
        for _ in range(TRIES):
            try:
                found = await self._client.peek(job_id)
                counters = await self._client.stats_job(job_id)
            except NotFound:
                return Fate.GONE
            if not self.same(counters["tube"], found.body, counters):
                return Fate.OTHER
            state = counters["state"]
            if state == "buried":
                return Fate.BURIED
            if state == "delayed" and not self._parked:
                return Fate.DELAYED
            if state != "reserved" and await self._reserve_again(job_id):
                # Another worker may have had it meanwhile, and lost it too.
                tell("taken-back", {"tube": self.tube, "id": job_id})
                return Fate.OURS
            await asyncio.sleep(TRY_PAUSE)
        return Fate.TAKEN

    async def _reserve_again(self, job_id: int) -> bool:
        try:
            self._job = await self._client.reserve_job(job_id)
        except NotFound:  # somebody was faster
            return False
        self._parked = False
        return True

    # --- settling ---

    async def settle(self, action: Action, ahead: Ahead | None = None) -> Settled:
        """Do it, on this connection or on the next ones.

        :param ahead: reserves the next job if this one is deleted
        """
        self._settling = True
        self._alarm.clear()
        if self._task is not None:
            await self._task
        sent = False  # and the answer never came
        while not self._lost:
            try:
                await self._carry_out(action, ahead)
                return Settled.DONE
            except Buried:
                return Settled.BURIED
            except NotFound:
                pass
            except ConnectionLost as error:
                sent = sent or error.sent
            except UnexpectedResponse:
                sent = True
            except CommandFailed as error:
                log.error(
                    "job %d is out of reach until the server's restart: %s", self._job.id, error
                )
                return Settled.REFUSED
            fate = await self._recover()
            if sent and fate is _FATES.get(action.verb):
                return Settled.PRESUMED
            if fate is not Fate.OURS:
                self._lose(fate)
        return Settled.LOST

    async def _carry_out(self, action: Action, ahead: Ahead | None) -> None:
        # The priority that the job has: the protocol wants it said.
        if action.verb is Verb.DELETE:
            if ahead is not None:
                await ahead.delete(self._client, self._job)
            else:
                await self._client.delete(self._job)
        elif action.verb is Verb.BURY:
            await self._client.bury(self._job, self._priority)
        else:
            await self._client.release(self._job, self._priority, action.delay or 0)

    async def close(self) -> None:
        """Touch no more."""
        self._settling = True
        self.hurry()
        self._alarm.clear()
        if self._task is not None:
            await self._task


_FATES = {Verb.DELETE: Fate.GONE, Verb.BURY: Fate.BURIED, Verb.RELEASE: Fate.DELAYED}
"""Where a job is found whose settling was sent, when it was carried out though the answer got
lost. (Released without a delay it is ready, or somebody has it: it is released again, or lost.)"""
