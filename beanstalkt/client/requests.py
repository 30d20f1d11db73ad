"""Requests: what is asked of the server, each waiting for its reply.

A request knows its command, the bytes that go to the socket, and the result that its caller
waits for. The kinds of requests differ in what a reply does besides settling that result. None
of them knows an event loop: what the caller waits for is anything that can take a result or an
exception, such as an asyncio Future.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from ..errors import (
    BeanstalkException,
    ConnectionLost,
    NotFound,
    ReservationLost,
    TimedOut,
    UnexpectedResponse,
)
from ..job import Job
from ..protocol.arguments import PRIORITY, TIMEOUT
from ..protocol.commands import (
    BURY,
    PUT,
    RELEASE,
    RESERVE,
    RESERVE_WITH_TIMEOUT,
    STATS_JOB,
    USE,
    Command,
)
from ..protocol.results import nothing

UNWRITTEN = -1
"""The position of a request that has not been written."""


class Result(Protocol):
    """What a caller waits for: an asyncio Future, or whatever else can be settled once."""

    def done(self) -> bool:
        """Return whether it has been settled, or its caller is gone."""

    def set_result(self, result: Any, /) -> None:
        """Settle it with the result of the command."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Settle it with the error of the command."""


class JobMaker(Protocol):
    """The client, as far as a request needs it: what the methods of a job go to."""

    @property
    def job_type(self) -> Callable[[int, bytes, Any, object], Job]:
        """What makes a job of its id, its body, this client and the connection it came on."""


class Holder(Protocol):
    """The connection, as far as a reserve needs it: what holds the jobs that it brings."""

    #: ids of the jobs that the server holds for this connection
    jobs: set[int]

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """Return a job without a caller to its tube, or hand it to the next caller."""

    def abandon(self, result: Hashable) -> None:
        """Forget the caller of a reserve, who waits for this result."""


class NoConnection:
    """The holder of a reserve that is on no connection: nothing comes for it."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """Do nothing: no job comes."""

    def abandon(self, result: Hashable) -> None:
        """Do nothing: nothing was written."""


NO_CONNECTION = NoConnection()


class ReserveResult(Result, Hashable, Protocol):
    """What the caller of a reserve waits for."""

    #: the connection that the reserve is on; None once its job was taken
    holder: Holder | None


class Request:
    """A command that waits for its reply.

    A caller that was cancelled leaves its request in the pipeline: the reply is read and dropped.
    """

    __slots__ = ("command", "payload", "position", "result")

    blocks = False
    """Whether the server answers nothing else until it has answered this one."""
    may_follow_reserve = False
    """Whether it may be written while a reserve waits at the server."""
    counted = False
    """Whether the pipeline has more to note of it than of other requests."""
    closes_on_error = False
    """Whether a refusal leaves the server in a state that the client cannot know, so that the
    connection must be closed."""
    missing = 1
    """Replies that are still to come."""
    follow_up: Request | None = None
    """The request that this one's reply has led to; it goes first of all that is queued."""
    expects_missing = False
    """Whether NOT_FOUND is a result like others, for which no error is made."""
    repeated: tuple[tuple[bytes, Any], ...] = ()
    """The replies that come many times in a row, as the server writes them, and their values."""

    def __init__(self, command: Command, payload: bytes, result: Result) -> None:
        self.command = command
        #: what goes to the socket: the command line, with a body if it has one; empty once a
        #: put was written
        self.payload = payload
        #: what the caller waits for
        self.result = result
        #: of the first byte in all that the connection writes
        self.position = UNWRITTEN

    @property
    def wanted(self) -> bool:
        """Whether it still has to be written."""
        return True

    @property
    def subject(self) -> str | None:
        """Return the first argument of the command line, which errors name; None without one."""
        if not self.command.arguments:
            return None
        words = self.payload.split(maxsplit=2)
        return words[1].decode() if len(words) > 1 else None

    def done(self, value: Any) -> None:
        """Settle the request with the value of a successful reply."""
        result = self.result
        if not result.done():
            result.set_result(value)

    def done_times(self, count: int, value: Any) -> None:
        """Settle as many of its commands with the same value."""
        for _ in range(count):
            self.done(value)

    def failed(self, error: BeanstalkException) -> None:
        """Settle the request with an error: the server refused, or will never answer."""
        if not self.result.done():
            self.result.set_exception(error)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        """Settle the request with ConnectionLost: the connection ended before the reply came."""
        self.failed(self._loss(reason, sent, cause))

    def _loss(self, reason: str, sent: bool, cause: BaseException | None) -> ConnectionLost:
        verb = self.command.verb
        error = ConnectionLost(
            f"{verb}: the connection was lost: {reason}", command=verb, sent=sent
        )
        error.__cause__ = cause
        return error


class TubeRequest(Request):
    """A use, watch or ignore: what the server granted is kept for the next connection.

    :param granted: called when the server did it
    :param refused: called when it did not
    """

    __slots__ = ("counted", "granted", "refused")

    def __init__(
        self,
        command: Command,
        payload: bytes,
        result: Result,
        granted: Callable[[], object],
        refused: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(command, payload, result)
        self.granted = granted
        self.refused = refused
        # A reserve after a watch or ignore may want other jobs than one before it.
        self.counted = command is not USE

    def done(self, value: Any) -> None:
        self.granted()
        super().done(value)

    def failed(self, error: BeanstalkException) -> None:
        if self.refused is not None:
            self.refused()
        super().failed(error)


class PeekRequest(Request):
    """A peek of any kind: its reply is a job that stays where it is."""

    __slots__ = ("client", "tube")

    def __init__(
        self,
        command: Command,
        payload: bytes,
        result: Result,
        client: JobMaker,
        tube: str | None = None,
    ) -> None:
        super().__init__(command, payload, result)
        #: what the methods of the job go to
        self.client = client
        #: the tube that is looked into; None for a peek by the id of a job
        self.tube = tube

    @property
    def subject(self) -> str | None:
        return self.tube or super().subject

    def done(self, value: Any) -> None:
        job_id, body = value
        super().done(self.client.job_type(job_id, body, self.client, None))


class SettleRequest(Request):
    """A delete, release, bury or touch: afterwards the connection may no longer hold the job."""

    __slots__ = ("job_id", "jobs", "keeps")

    def __init__(
        self,
        command: Command,
        payload: bytes,
        result: Result,
        job_id: int,
        jobs: set[int],
        keeps: bool = False,
    ) -> None:
        self.command = command
        self.payload = payload
        self.result = result
        self.position = UNWRITTEN
        self.job_id = job_id
        #: ids of the jobs that the connection holds
        self.jobs = jobs
        #: whether the job stays reserved, as it does after a touch
        self.keeps = keeps

    def done(self, value: Any) -> None:
        if not self.keeps:
            self.jobs.discard(self.job_id)
        result = self.result
        if not result.done():
            result.set_result(value)

    def failed(self, error: BeanstalkException) -> None:
        # NOT_FOUND, or buried instead of released: either way it is not held here.
        self.jobs.discard(self.job_id)
        super().failed(error)


class InternalRequest(Request):
    """A command of the client's own: no caller waits for its reply."""

    __slots__ = ("closes_on_error",)

    def __init__(self, command: Command, payload: bytes, closes_on_error: bool = False) -> None:
        self.command = command
        self.payload = payload
        self.position = UNWRITTEN
        self.closes_on_error = closes_on_error

    def done(self, value: Any) -> None:
        pass

    def failed(self, error: BeanstalkException) -> None:
        pass


class PriorityLookup(Request):
    """A stats-job that finds the priority which a release or bury is to keep.

    The release or bury is its follow-up: it is made of the reply, and goes first of all that is
    queued. The lookup blocks, so nothing comes between the two.

    :param settle: the release or bury, without its payload
    :param delay: seconds, for a release
    """

    __slots__ = ("delay", "follow_up", "job_id", "settle")

    blocks = True
    counted = True

    def __init__(self, job_id: int, settle: Request, delay: int = 0) -> None:
        self.command = STATS_JOB
        self.payload = STATS_JOB.encode(job_id)
        self.position = UNWRITTEN
        self.follow_up = None
        self.job_id = job_id
        self.settle = settle
        self.delay = delay

    def done(self, value: Any) -> None:
        priority = value.get("pri")
        if not isinstance(priority, int) or not 0 <= priority <= PRIORITY.limit:
            self.failed(UnexpectedResponse("stats-job: the server's reply holds no priority"))
            return
        settle = self.settle
        if settle.command is BURY:
            settle.payload = BURY.encode(self.job_id, priority)
        else:
            settle.payload = RELEASE.encode(self.job_id, priority, self.delay)
        self.follow_up = settle

    def failed(self, error: BeanstalkException) -> None:
        error.command = verb = self.settle.command.verb
        if isinstance(error, NotFound):  # the caller has not asked for stats-job
            error.args = (f"{verb}{str(error).removeprefix(STATS_JOB.verb)}",)
        self.settle.failed(error)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        # Whatever became of the lookup, the release or bury itself was not sent.
        self.settle.lost(reason, sent=False, cause=cause)


class ReturnRequest(PriorityLookup):
    """The return of a job without a caller: a lookup, then a release with the job's priority.

    A refusal is fine: the job ran out of time or was deleted, and is not ours to return.

    :param hand_over: offers the job once more to those that wait for one; returns whether one
        of them took it
    """

    __slots__ = ("hand_over", "job")

    def __init__(self, job: Job, hand_over: Callable[[Job], bool]) -> None:
        super().__init__(job.id, InternalRequest(RELEASE, b""))
        self.job = job
        self.hand_over = hand_over

    def done(self, value: Any) -> None:
        if not self.hand_over(self.job):
            super().done(value)


class ReserveRequest(Request):
    """A reserve, with a timeout or without; the job belongs to the connection it comes on."""

    __slots__ = ("client", "client_keeps_time", "counted", "ends", "holder", "timeout")

    blocks = True
    may_follow_reserve = True

    result: ReserveResult

    def __init__(
        self,
        command: Command,
        payload: bytes,
        result: ReserveResult,
        client: JobMaker,
        timeout: int | None = None,
    ) -> None:
        self.command = command
        self.payload = payload
        self.result = result
        self.position = UNWRITTEN
        self.client = client
        #: the connection whose reply it gets
        self.holder: Holder = result.holder or NO_CONNECTION
        #: seconds; None for a plain reserve
        self.timeout = timeout
        self.counted = timeout is not None
        #: when its timeout is over, on the clock of the connection
        self.ends: float | None = None
        #: the client itself ends it at that time, since the server may not get to it
        self.client_keeps_time = False

    @property
    def wanted(self) -> bool:
        return not self.result.done()

    def begin(self, now: float) -> None:
        """Let its timeout count from now, unless it does already."""
        if self.timeout is not None and self.ends is None:
            self.ends = now + self.timeout

    def move_to(self, holder: Holder, now: float) -> None:
        """Prepare it for another connection, with what is left of its timeout."""
        self.holder = self.result.holder = holder
        self.renew(now)

    def renew(self, now: float) -> None:
        """Make the payload again, with what is left of the timeout."""
        if self.ends is not None:
            left = max(0, math.ceil(self.ends - now))
            self.payload = RESERVE_WITH_TIMEOUT.encode(min(left, TIMEOUT.limit))
        elif self.timeout is not None:
            self.payload = self.command.encode(self.timeout)
        elif self.may_follow_reserve:
            self.payload = RESERVE.form

    def expire(self, why: str = "") -> None:
        """Settle it with TimedOut, since the server does not say so."""
        self.failed(
            TimedOut(f"{self.command.verb}: no job came in time{why}", command=self.command.verb)
        )

    def done(self, value: Any) -> None:
        job_id, body = value
        result, holder = self.result, self.holder
        client = self.client
        job = client.job_type(job_id, body, client, holder)
        if result.done():
            holder.give_back(job, self.may_follow_reserve)
        else:
            holder.jobs.add(job_id)
            result.set_result(job)


class ReserveNowRequest(ReserveRequest):
    """A reserve with a timeout of 0: the server answers it at once."""

    __slots__ = ()

    blocks = False


class ReserveJobRequest(ReserveRequest):
    """A reserve of one job by its id: the server answers it at once."""

    __slots__ = ()

    blocks = False
    may_follow_reserve = False


class PutChunk(Request):
    """Some puts that are written together; their ids go to a list.

    :param payload: the puts, one after another
    :param count: how many they are
    :param ids: gets the id of each, or None for one that did not go in
    :param ended: called when all are settled, with the first error if there was one
    """

    __slots__ = ("_ended", "_error", "ids", "missing")

    def __init__(
        self,
        payload: bytes,
        count: int,
        ids: list[int | None],
        ended: Callable[[BeanstalkException | None], object],
    ) -> None:
        self.command = PUT
        self.payload = payload
        self.position = UNWRITTEN
        self.missing = count
        self.ids = ids
        self._ended = ended
        self._error: BeanstalkException | None = None

    def done(self, value: Any) -> None:
        self.ids.append(value)
        self._settled(1)

    def done_many(self, ids: list[int]) -> None:
        """Settle the next puts with their ids."""
        self.ids += ids
        self._settled(len(ids))

    def failed(self, error: BeanstalkException) -> None:
        self._fail(error, 1)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        self._fail(self._loss(reason, sent, cause), self.missing)

    def _fail(self, error: BeanstalkException, count: int) -> None:
        if not self.missing:
            return  # interrupted after its last reply
        self.ids += [None] * count
        if self._error is None:
            self._error = error
        self._settled(count)

    def _settled(self, count: int) -> None:
        self.missing -= count
        if not self.missing:
            self._ended(self._error)


class Missing:
    """Stand for the NOT_FOUND that is the result of one command among many."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def _repeated(command: Command) -> tuple[tuple[bytes, Any], ...]:
    """Return the replies to a command that are a status alone, and their values."""
    replies: list[tuple[bytes, Any]] = []
    if b"NOT_FOUND" in command.refusals:
        replies.append((b"NOT_FOUND\r\n", MISSING))
    if command.read is nothing:
        replies.append((command.success + b"\r\n", None))
    return tuple(replies)


class CommandChunk(Request):
    """Commands of one kind that are written together; its result is a list of theirs.

    :param payloads: the encoded commands, at least one
    :param result: gets a list of the result of each command, or of the error in its stead
    """

    __slots__ = ("missing", "repeated", "values")

    expects_missing = True

    def __init__(self, command: Command, payloads: Sequence[bytes], result: Result) -> None:
        super().__init__(command, b"".join(payloads), result)
        self.missing = len(payloads)
        self.repeated = _repeated(command)
        self.values: list[Any] = []

    @property
    def subject(self) -> str | None:
        return None

    def done(self, value: Any) -> None:
        self.done_times(1, value)

    def done_times(self, count: int, value: Any) -> None:
        self.values += [value] * count
        self.missing -= count
        if not self.missing:
            super().done(self.values)

    def failed(self, error: BeanstalkException) -> None:
        if self.missing:
            self.done(error)

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        if not self.missing:
            return  # interrupted after its last reply
        self.values += [self._loss(reason, sent, cause)] * (self.missing - 1)
        self.missing = 1
        self.done(self._loss(reason, sent, cause))


def reservation_lost(command: Command, job_id: int | None) -> ReservationLost:
    """Return the error of a command for a job that another connection has reserved."""
    return ReservationLost(
        f"{command.verb}: job {job_id} was reserved on another connection. If that was lost, the "
        "server has given the job back to its tube; if it is one of another client, or of the "
        "parent process, the job must be settled there",
        command=command.verb,
    )
