"""The places of the FIFO: one for each command, waiting for its reply.

The kinds differ in what a reply does besides settling the caller's Future.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from typing import Any, Protocol

from ..errors import BeanstalkException, ConnectionLost, TimedOut, UnexpectedResponse
from ..job import Job, Verbs
from ..protocol.arguments import PRIORITY, TIMEOUT
from ..protocol.commands import RESERVE_WITH_TIMEOUT, STATS_JOB, Command

UNWRITTEN = -1


class Place:
    """A command that waits for its reply.

    A caller that was cancelled leaves its place behind: the reply is read and dropped.
    """

    __slots__ = ("command", "future", "line", "position")

    waits = False
    """holds the line until it is answered, as a reserve does that may wait at the server"""
    passes = False
    """may be written behind a reserve that waits"""
    tracked = False
    """the FIFO counts it: a reserve, what holds the line, a change of the tubes watched"""
    vital = False
    """a refusal leaves the server in a state that is not ours: the connection must go"""
    count = 1
    """replies: it stands that many times in the FIFO"""
    missing = 1
    """replies that are still to come"""

    def __init__(self, command: Command, line: bytes, future: asyncio.Future[Any]) -> None:
        self.command = command
        self.line = line  # as it goes to the socket, with a body if it has one
        self.future = future
        self.position = UNWRITTEN  # of its first byte in all that the connection writes

    def done(self, result: Any) -> None:
        """The server did it."""
        future = self.future
        if not future.done():
            future.set_result(result)

    def failed(self, error: BeanstalkException) -> None:
        """The server refused, or will never answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        """The connection went before the reply came."""
        error = ConnectionLost(
            f"{self.command.verb}: the connection was lost: {reason}",
            command=self.command.verb,
            sent=sent,
        )
        error.__cause__ = cause
        self.failed(error)


class Grant(Place):
    """A use, or a Change: what is granted is kept for the next connection."""

    __slots__ = ("granted", "refused")

    def __init__(
        self,
        command: Command,
        line: bytes,
        future: asyncio.Future[Any],
        granted: Callable[[], object],
        refused: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(command, line, future)
        self.granted = granted
        self.refused = refused

    def done(self, result: Any) -> None:
        self.granted()
        super().done(result)

    def failed(self, error: BeanstalkException) -> None:
        if self.refused is not None:
            self.refused()
        super().failed(error)


class Change(Grant):
    """A watch or ignore: a reserve after it may want other jobs than one in front of it."""

    __slots__ = ()

    tracked = True


class Peek(Place):
    """The reply is a job that stays where it is."""

    __slots__ = ("client",)

    def __init__(
        self, command: Command, line: bytes, future: asyncio.Future[Any], client: Verbs
    ) -> None:
        super().__init__(command, line, future)
        self.client = client

    def done(self, result: Any) -> None:
        job_id, body = result
        super().done(Job(job_id, body, self.client))


class Settle(Place):
    """A delete, release, bury or touch: afterwards the connection may no longer hold the job."""

    __slots__ = ("job_id", "jobs", "keeps")

    def __init__(
        self,
        command: Command,
        line: bytes,
        future: asyncio.Future[Any],
        job_id: int,
        jobs: set[int],
        keeps: bool = False,
    ) -> None:
        self.command = command
        self.line = line
        self.future = future
        self.position = UNWRITTEN
        self.job_id = job_id
        self.jobs = jobs  # what the connection holds
        self.keeps = keeps  # a touch

    def done(self, result: Any) -> None:
        if not self.keeps:
            self.jobs.discard(self.job_id)
        future = self.future
        if not future.done():
            future.set_result(result)

    def failed(self, error: BeanstalkException) -> None:
        # NOT_FOUND, or buried instead of released: either way it is not held here.
        self.jobs.discard(self.job_id)
        super().failed(error)


class Priority(Place):
    """A stats-job for the priority that the command behind it is to keep.

    It holds the line, so that nothing comes between the two.

    :param fill: gets the priority; makes the line of `behind`, which is not sent without one
    """

    __slots__ = ("behind", "fill")

    waits = True
    tracked = True

    def __init__(self, job_id: int, fill: Callable[[int], None], behind: Place) -> None:
        self.command = STATS_JOB
        self.line = STATS_JOB.encode(job_id)
        self.position = UNWRITTEN
        self.fill = fill
        self.behind = behind

    def done(self, result: Any) -> None:
        priority = result.get("pri")
        if isinstance(priority, int) and 0 <= priority <= PRIORITY.limit:
            self.fill(priority)
        else:
            self.failed(UnexpectedResponse("stats-job: the server told no priority"))

    def failed(self, error: BeanstalkException) -> None:
        error.command = self.behind.command.verb
        self.behind.failed(error)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        pass  # the command behind it is lost too, and was not sent


class Holder(Protocol):
    """The connection, as a reservation sees it."""

    jobs: set[int]

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """A job came for a reserve that no longer wants it."""

    def abandoned(self, future: Reservation) -> None:
        """A reserve was cancelled."""


class Nowhere:
    """Where a reserve is that is on no connection."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """No job comes."""

    def abandoned(self, future: Reservation) -> None:
        """Nobody has to know."""


NOWHERE = Nowhere()

_result = asyncio.Future.result
_collected = getattr(asyncio.Future, "__del__")  # noqa: B009 - no stub tells of it


class Reservation(asyncio.Future[Job]):
    """The Future of a reserve: a job is never lost in it.

    A task can be cancelled between the reply and its waking up. Then the await below ends in
    CancelledError although the Future has a job, and the job goes to somebody else. So does
    the job of a Future that is collected without anybody having asked for its result, as the
    Futures in a cancelled ``gather`` are.
    """

    __slots__ = ("holder",)  # set with each; the others seldom

    holder: Holder | None  # the connection that it is on; None when its job was taken
    to_anyone = True  # any reserve may have its job; not so for one that asked for an id
    timer: asyncio.TimerHandle | None = None  # where the client itself keeps its timeout

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        self.stop_timer()
        if self.holder is not None:
            self.holder.abandoned(self)
        return True

    def stop_timer(self) -> None:
        """Has nobody but the server keep its timeout."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def result(self) -> Job:
        job: Job = _result(self)
        self.holder = None
        return job

    def __await__(self) -> Generator[Any, None, Job]:
        if not self.done():
            # What the await of every Future does; to go through that one takes longer.
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                self._give_back()
                raise
        job: Job = _result(self)
        self.holder = None
        return job

    __iter__ = __await__

    def _give_back(self) -> None:
        """Returns the job that it may have."""
        if self._has_job():
            _give_back(self.result(), self.to_anyone)

    def _has_job(self) -> bool:
        return self.done() and not self.cancelled() and self.exception() is None

    def __del__(self) -> None:
        try:
            taken = self.holder is None
        except AttributeError:  # interrupted while it was made
            return
        if not taken:
            _collected(self)
            self._return_untaken()

    def _return_untaken(self) -> None:
        """Has the loop return the job: the collector may call from any thread, at any time."""
        try:
            if self._has_job():
                self.get_loop().call_soon_threadsafe(_give_back, self.result(), self.to_anyone)
        except Exception:
            pass  # the loop or the interpreter has ended, and the connection with it


def _give_back(job: Job, to_anyone: bool) -> None:
    origin: Any = job.origin  # the connection that reserved it
    origin.give_back(job, to_anyone)


class Reserve(Place):
    """A reserve; the job belongs to the connection that the reply comes on."""

    __slots__ = ("client", "ends", "holder", "timeout")

    waits = True
    passes = True
    tracked = True

    future: Reservation

    def __init__(
        self,
        command: Command,
        line: bytes,
        future: Reservation,
        client: Verbs,
        timeout: int | None = None,
    ) -> None:
        self.command = command
        self.line = line
        self.future = future
        self.position = UNWRITTEN
        self.client = client
        self.holder = future.holder or NOWHERE  # whose reply it gets
        self.timeout = timeout  # seconds; None for a plain reserve
        self.ends: float | None = None  # the time of the loop when its timeout is over

    @property
    def live(self) -> bool:
        """Somebody still waits for it."""
        return not self.future.done()

    def begin(self, now: float) -> None:
        """Its timeout counts from now."""
        if self.timeout is not None and self.ends is None:
            self.ends = now + self.timeout

    def renew(self, holder: Holder, now: float) -> None:
        """Makes the line again, for another connection, with what is left of the timeout."""
        self.holder = self.future.holder = holder
        if self.ends is not None:
            left = max(0, math.ceil(self.ends - now))
            self.line = RESERVE_WITH_TIMEOUT.encode(min(left, TIMEOUT.limit))
        elif self.timeout is not None:
            self.line = self.command.encode(self.timeout)
        elif self.passes:
            self.line = self.command.form

    def expire(self, where: str = ", and the connection was lost") -> None:
        """Its timeout is over, and the server does not say so."""
        self.failed(
            TimedOut(f"{self.command.verb}: no job came in time{where}", command=self.command.verb)
        )

    def done(self, result: Any) -> None:
        job_id, body = result
        future, holder = self.future, self.holder
        job = Job(job_id, body, self.client, holder)
        if future.done():
            holder.give_back(job, self.passes)
            return
        # What `give` does; a call more takes longer.
        if future.timer is not None:
            future.stop_timer()
        holder.jobs.add(job_id)
        future.set_result(job)

    def give(self, job: Job) -> None:
        """Gives its caller a job that came on its connection."""
        future = self.future
        if future.timer is not None:
            future.stop_timer()
        self.holder.jobs.add(job["id"])
        future.set_result(job)

    def failed(self, error: BeanstalkException) -> None:
        self.future.stop_timer()
        super().failed(error)


class ReserveNow(Reserve):
    """One with a timeout of 0."""

    __slots__ = ()

    waits = False


class ReserveJob(Reserve):
    """One by a job's id."""

    __slots__ = ()

    waits = False
    passes = False
    tracked = False


class Own(Place):
    """A command of the client's own: no caller hears of it."""

    __slots__ = ("then", "vital")

    def __init__(
        self,
        command: Command,
        line: bytes,
        then: Callable[[Any], None] | None = None,
        vital: bool = False,
    ) -> None:
        self.command = command
        self.line = line
        self.position = UNWRITTEN
        self.then = then  # gets the result
        self.vital = vital

    def done(self, result: Any) -> None:
        if self.then is not None:
            self.then(result)

    def failed(self, error: BeanstalkException) -> None:
        pass
