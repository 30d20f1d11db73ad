"""The pipeline of a connection: requests in, bytes out; bytes in, settled requests out.

It does no I/O and reads no clock but the one that it is given, so every shell around it, with an
event loop or without, keeps the same promises.

A server answers nothing before it has answered a waiting reserve (protocol section 4.1), so
while one waits only further reserves are written; the rest is queued here, in the order of the
calls.

A reserve that was cancelled leaves a spare reserve at the server. The next caller waits for the
job that the spare one may bring, and nothing is written for it. Were it written, each reserve that
was given up after a while would leave one more at the server, and the settling of the job that
comes at last would be held up by them all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from ..errors import BeanstalkException, UnexpectedResponse
from ..job import Job
from ..protocol.commands import PUT, RELEASE, USE, Command
from ..protocol.parser import Parser, Reply
from ..protocol.replies import refusal, unexpected
from .requests import (
    MISSING,
    InternalRequest,
    PriorityLookup,
    PutChunk,
    Request,
    ReserveRequest,
    ReturnRequest,
    TubeRequest,
)

GRACE = 0.5
"""Seconds that the server may take to say that there is no job, before the client says so for a
reserve that the server will not get to in time."""

_NOT_FOUND = [b"NOT_FOUND"]
_INSERTED = b"INSERTED "

UNANSWERED: Any = object()
"""Instead of the value of a reply: that there is no whole reply, or that it is no success."""

Callers = OrderedDict[Hashable, ReserveRequest]
"""The reserves with a caller, by what that caller waits for, in the order of the calls."""


class Pipeline:
    """The requests of one connection, in order.

    :param clock: returns the time in seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        #: written requests, the oldest first: the next reply belongs to it
        self.in_flight: deque[Request] = deque()
        #: requests that are not written yet
        self.queued: deque[Request] = deque()
        #: how many requests in flight block the server
        self.blocking = 0
        #: bytes to be written
        self.output: list[bytes] = []
        #: the number of bytes that were ever written
        self.position = 0
        #: ids of the jobs that the server holds for this connection
        self.jobs: set[int] = set()
        #: a heap of the reserves whose timeout the client keeps itself
        self.timed: list[tuple[float, int, ReserveRequest]] = []
        #: when the oldest request became the oldest, or some bytes of a long one moved
        self.quiet_since = 0.0
        self._clock = clock
        self._parser = Parser()
        self._lookups = 0  # in flight
        self._reserves_now = 0  # in flight: those that the server answers at once
        self._watch_changes = 0  # in flight: watch and ignore requests
        self._queued_watch_changes = 0
        # By what they wait for. Each is None while all reserves have callers, as is the rule, so
        # that it costs nothing then.
        #: the callers of the reserves in flight, and those that share a spare reserve
        self.callers: Callers | None = None
        self._unwritten: Callers = OrderedDict()  # those of them that share a spare reserve
        self._queued_callers: Callers | None = None
        self._serial = count()
        self._visited: str | None = None  # the tube that the last `send_in_tube` went to
        self._way_back: Request | None = None  # the use that came back from it

    # --- requests in, bytes out ---

    def send(self, request: Request) -> bool:
        """Put the request into the output, or queue it while a reserve waits.

        Returns whether it was put into the output.
        """
        if self.blocking and not self.admit(request):
            return False
        self.output.append(self.write(request))
        return True

    def admit(self, request: Request) -> bool:
        """Return whether the request may be written while another blocks; queue it otherwise."""
        if self.queued or self._lookups or not request.may_follow_reserve:
            self._queue(request)
            return False
        if request.counted:
            self._keep_time(request)
        return self.callers is None or not self._share_spare(request)

    def write(self, request: Request) -> bytes:
        """Put the request in flight, and return the bytes to be written now."""
        payload = request.payload
        if request.command is PUT:
            request.payload = b""  # bodies may be long; a short line stays for an error's message
        request.position = self.position
        self.position += len(payload)
        if request.blocks:
            self.blocking += 1
        if request.counted or self.callers is not None:
            self._count(request)
        if not self.in_flight:
            self.quiet_since = self._clock()
        self.in_flight.append(request)
        return payload

    def send_unit(self, requests: Iterable[Request]) -> bool:
        """Put requests that nothing may come between into the output, or queue them.

        Returns whether they were put into the output.
        """
        blocked = self.blocking > 0
        for request in requests:
            if blocked:
                self._queue(request)
            else:
                self.output.append(self.write(request))
        return not blocked

    def send_in_tube(self, request: Request, tube: str, home: str) -> bool:
        """Send a request to another tube than the one in use, and come back.

        Nothing comes between the three commands. Straight on from one tube to the next, it does
        not come back in between.

        :param home: the tube in use when all that was sent before has been done

        Returns whether they were put into the output.
        """
        # Encoded first: it refuses a bad name before anything has changed.
        there = InternalRequest(USE, USE.encode(tube), closes_on_error=True)
        back = InternalRequest(USE, USE.encode(home), closes_on_error=True)
        stayed = self._withdraw(self._way_back) and self._visited == tube
        written = self.send_unit((request, back) if stayed else (there, request, back))
        self._visited, self._way_back = tube, back
        return written

    def _withdraw(self, request: Request | None) -> bool:
        """Take the last request back if it is this one and has not left; return whether it was."""
        if self.queued:
            if self.queued[-1] is not request:
                return False
            self.queued.pop()
            return True
        if not self.output or self.in_flight[-1] is not request:
            return False
        self.in_flight.pop()
        self.position -= len(self.output.pop())
        return True

    def data_to_send(self) -> bytes:
        """Take out the bytes that are to be written."""
        output = self.output
        if len(output) == 1:
            return output.pop()
        data = b"".join(output)
        output.clear()
        return data

    def _count(self, request: Request) -> None:
        if isinstance(request, PriorityLookup):
            self._lookups += 1
        elif isinstance(request, TubeRequest):
            self._watch_changes += request.counted
        elif isinstance(request, ReserveRequest) and request.may_follow_reserve:
            if self.callers is not None:
                self.callers[request.result] = request
            if request.timeout is not None:
                request.begin(self._clock())
            self._reserves_now += not request.blocks

    def _uncount(self, request: Request) -> None:
        if isinstance(request, PriorityLookup):
            self._lookups -= 1
        elif isinstance(request, TubeRequest):
            self._watch_changes -= request.counted
        elif isinstance(request, ReserveRequest) and request.may_follow_reserve:
            self._reserves_now -= not request.blocks
            if self.callers is not None:
                self.callers.pop(request.result, None)
                if not self._unwritten and not self._reserves:
                    self.callers = None

    @property
    def _blocking_reserves(self) -> int:
        return self.blocking - self._lookups

    @property
    def _reserves(self) -> int:
        """How many reserves are in flight, with a caller or without."""
        return self.blocking - self._lookups + self._reserves_now

    # --- the queue ---

    def _queue(self, request: Request) -> None:
        self.queued.append(request)
        if request.counted:
            if isinstance(request, TubeRequest):
                self._queued_watch_changes += 1
            else:
                self._keep_time(request)
        if self._queued_callers is not None and isinstance(request, ReserveRequest):
            self._queued_callers[request.result] = request

    def _send_first(self, request: Request) -> None:
        """Send a request of the client's own before all that is queued."""
        if self.blocking:
            self.queued.appendleft(request)
        else:
            self.output.append(self.write(request))

    def _write_queued(self) -> None:
        """Write what is queued, up to the next waiting reserve and the reserves after it."""
        queued = self.queued
        while queued:
            request = queued[0]
            if self.blocking and (self._lookups or not request.may_follow_reserve):
                return
            if isinstance(request, ReserveRequest):
                if self._queued_callers is not None:
                    self._queued_callers.pop(request.result, None)
                if not request.result.done():
                    self._write_late(request)
            else:
                if request.counted and isinstance(request, TubeRequest):
                    self._queued_watch_changes -= 1
                self.output.append(self.write(request))
            # Only now: interrupted in between, it must still be found.
            queued.popleft()
        self._queued_callers = None

    def _write_late(self, request: ReserveRequest) -> None:
        if request.ends is not None:
            request.renew(self._clock())
            if not self._blocking_reserves:
                request.client_keeps_time = False  # from here on the server does
        self.output.append(self.write(request))

    # --- bytes in, settled requests out ---

    def receive(self, chunk: bytes) -> bool:
        """Settle the requests whose replies `chunk` completes; return whether there were any.

        Raises UnexpectedResponse, or the refusal of a request after which the server's state is
        not ours. The connection is of no use then.
        """
        in_flight, parser = self.in_flight, self._parser
        request: Request | None = None
        try:
            if in_flight:
                oldest = in_flight[0]
                if len(in_flight) + oldest.missing > 2:
                    if oldest.command is PUT:
                        request, chunk = self._take_ids(chunk)
                    elif oldest.repeated:
                        request, chunk = self._take_repeated(chunk)
                elif not oldest.command.with_data:
                    value = self.value_at_once(oldest.command, chunk)
                    if value is not UNANSWERED:
                        # No request of such a command blocks, or leads to another one.
                        request = in_flight.popleft()
                        if request.counted:
                            self._uncount(request)
                        request.done(value)
                        chunk = b""
            replies: Iterable[Reply] = ()
            if chunk:
                single = parser.single(chunk) if len(in_flight) == 1 else None
                replies = parser.feed(chunk) if single is None else (single,)
            for words, data in replies:
                if not in_flight:
                    raise unexpected(None, words)
                request = in_flight.popleft()
                if request.blocks:
                    self.blocking -= 1
                if request.counted or self.callers is not None:
                    self._uncount(request)
                if request.missing > 1:
                    in_flight.appendleft(request)
                command = request.command
                if words[0] == command.success:
                    try:
                        value = command.read(words, data)
                    except ValueError:
                        self._refuse(request, unexpected(command, words))
                    else:
                        request.done(value)
                elif request.expects_missing and words == _NOT_FOUND:
                    request.done(MISSING)
                else:
                    self._refuse(request, refusal(command, words, request.subject))
                if request.follow_up is not None:
                    self._send_first(request.follow_up)
        except BeanstalkException as error:
            if isinstance(error, UnexpectedResponse) and error.command is None and in_flight:
                # No request has got it yet: it was meant for the oldest.
                request = self._take_refused()
                error.command = request.command.verb
                request.failed(error)
            raise
        except BaseException:
            # It may have got its reply, or not.
            if request is not None and not (in_flight and in_flight[0] is request):
                in_flight.appendleft(request)
            raise
        if request is None:
            return False
        if in_flight:
            self.quiet_since = self._clock()
        if self.queued or self._unwritten:
            self._advance()
        return True

    def value_at_once(self, command: Command, chunk: bytes) -> Any:
        """Return the value of the reply to a command that was sent without a request.

        Returns UNANSWERED, and takes in nothing, unless `chunk` is that reply as a whole, and a
        success: `receive` is to have the rest, once there is a request.
        """
        parser = self._parser
        try:
            if not parser.rest and not parser.missing:
                if command is PUT:
                    number = chunk[9:-2]
                    if number.isdigit() and chunk[:9] == _INSERTED and chunk[-2:] == b"\r\n":
                        return int(number)  # ValueError if there are thousands of digits
                elif chunk == command.acknowledgement:
                    return None
            reply = parser.single(chunk)
            if reply is not None and reply[0][0] == command.success:
                return command.read(*reply)
        except ValueError:
            pass
        return UNANSWERED

    def _take_ids(self, chunk: bytes) -> tuple[Request | None, bytes]:
        """Settle the oldest puts with the ids at the beginning of `chunk`, all in one go.

        Returns the last request that was settled, and the rest of the chunk. Each request is
        settled before it is taken out: interrupted in between, it must still be found.
        """
        in_flight = self.in_flight
        request: Request | None = None
        while in_flight and in_flight[0].command is PUT:
            oldest = in_flight[0]
            limit = oldest.missing if oldest.missing > 1 else len(in_flight)
            ids, chunk = self._parser.inserted(chunk, limit)
            if not ids:
                break
            if isinstance(oldest, PutChunk) and len(ids) <= oldest.missing:
                request = oldest
                oldest.done_many(ids)
                if not oldest.missing:
                    in_flight.popleft()
                continue
            for job_id in ids:
                request = in_flight[0]
                if request.command is not PUT:
                    self._take_refused()
                    self._refuse(
                        request, unexpected(request.command, [b"INSERTED", b"%d" % job_id])
                    )
                last = request.missing <= 1
                request.done(job_id)
                if last:
                    in_flight.popleft()
        return request, chunk

    def _take_repeated(self, chunk: bytes) -> tuple[Request | None, bytes]:
        """Settle commands of the oldest requests whose replies are all alike, in one go.

        Returns the last request that was settled, and the rest of the bytes. Like `_take_ids`, it
        settles each request before it takes it out.
        """
        in_flight = self.in_flight
        request: Request | None = None
        came = True
        while came and in_flight:
            came = False
            oldest = in_flight[0]
            for line, value in oldest.repeated:
                count, chunk = self._parser.repeated(chunk, line, oldest.missing)
                if count:
                    came = True
                    request = oldest
                    oldest.done_times(count, value)
                    if not oldest.missing:
                        in_flight.popleft()
                        break
        return request, chunk

    def _take_refused(self) -> Request:
        """Return the oldest request, and take it out unless more replies to it are to come.

        Those are lost with the connection, and `clear` must find whom to tell.
        """
        oldest = self.in_flight[0]
        return self.in_flight.popleft() if oldest.missing <= 1 else oldest

    def _refuse(self, request: Request, error: BeanstalkException) -> None:
        """Settle a request with a refusal; raise it if the stream is of no use any more."""
        request.failed(error)
        if (
            request.closes_on_error
            or isinstance(error, UnexpectedResponse)
            or (error.status or "").encode() in request.command.fatal
        ):
            raise error

    def _advance(self) -> None:
        """Write what may be written now that some requests have got their replies."""
        while self._unwritten and self._reserves < len(self._all_callers()):
            if self._returns_a_job_next():
                break  # the job would have to wait for that reserve
            # There is no spare reserve left for this caller.
            self._write_late(self._unwritten.popitem(last=False)[1])
        if self.queued:
            self._write_queued()

    # --- reserves without a caller ---

    def abandon(self, result: Hashable) -> None:
        """Forget the caller of a reserve. What was written for it stays."""
        self._all_callers().pop(result, None)
        self._unwritten.pop(result, None)
        if self._queued_callers is not None:
            self._queued_callers.pop(result, None)

    def _all_callers(self) -> Callers:
        """Return the callers of the reserves in flight, and those that share a spare one."""
        if self.callers is None:
            callers = _callers_of(self.in_flight)
            if not self._reserves:
                return callers
            self.callers = callers
        return self.callers

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """Hand a job without a caller to the next one that waits, or return it to its tube.

        :param to_anyone: whether any caller may have it; otherwise it is returned
        """
        self.jobs.discard(job.id)
        if to_anyone and self._hand_over(job):
            return
        # Callers that wait when the priority is known may want other tubes.
        anyone = to_anyone and not self._watch_changes
        # Only the job's own statistics tell the priority that it must keep. It goes before all
        # that is queued: a reserve may be there that waits for just this job.
        self._send_first(ReturnRequest(job, self._hand_over if anyone else _nobody))

    def _hand_over(self, job: Job) -> bool:
        """Give a job to the next caller that waits for one of the same tubes, if there is one."""
        if self._watch_changes:
            return False
        if self._hand_to(self._all_callers(), job):
            return True
        if self._queued_watch_changes or not self.queued:
            return False
        if self._queued_callers is None:
            self._queued_callers = _callers_of(self.queued)
        return self._hand_to(self._queued_callers, job)

    def _hand_to(self, callers: Callers, job: Job) -> bool:
        while callers:
            result, request = callers.popitem(last=False)
            self._unwritten.pop(result, None)
            if request.wanted:
                self.jobs.add(job.id)
                request.result.set_result(job)
                return True
        return False

    def _share_spare(self, request: Request) -> bool:
        """Let a reserve wait for the job of a spare one; return whether there is one."""
        if not isinstance(request, ReserveRequest) or self.callers is None:
            return False
        if self._reserves <= len(self.callers):
            return False
        self.callers[request.result] = self._unwritten[request.result] = request
        return True

    @property
    def stuck(self) -> bool:
        """Whether something waits for the reply to spare reserves, or a job waits to go back."""
        if not self.blocking:
            return False
        while self.queued and not self.queued[0].wanted:
            self.queued.popleft()
        job_waits = self._returns_a_job_next()
        if self.callers is None and not job_waits and self.in_flight[0].wanted:
            return False  # the oldest has its caller, or its reply is on the way
        callers = self._all_callers()
        if self._reserves < len(self.in_flight):
            return False  # a reply is on the way
        if job_waits:
            return True
        for result, caller in callers.items():
            # A plain reserve does as well with a spare one as with one of its own.
            return caller.timeout is not None and result in self._unwritten
        return bool(self.queued)

    @property
    def missing(self) -> int:
        """How many bytes of the reply under way are still to come, as far as that is known."""
        return self._parser.missing

    def _returns_a_job_next(self) -> bool:
        return bool(self.queued) and returns_job(self.queued[0])

    # --- timeouts that the client keeps ---

    def _keep_time(self, request: Request) -> None:
        """End a reserve on time even if the server does not get to it in time."""
        if not isinstance(request, ReserveRequest) or request.timeout is None:
            return
        request.begin(self._clock())
        if request.ends is not None:
            request.client_keeps_time = True
            heappush(self.timed, (request.ends, next(self._serial), request))

    @property
    def next_timeout(self) -> float | None:
        """When :meth:`expire` is to be called; None: no timeout is kept here."""
        timed = self.timed
        while timed and not (timed[0][2].wanted and timed[0][2].client_keeps_time):
            heappop(timed)
        return timed[0][0] if timed else None

    def expire(self) -> None:
        """End the reserves whose timeout is over, unless the server is about to answer them."""
        now = self._clock()
        later: list[tuple[float, int, ReserveRequest]] = []
        while (due := self.next_timeout) is not None and due <= now:
            _, serial, request = heappop(self.timed)
            # The reserve that blocks may have been written just now, and a job may be there.
            answered_by = self.quiet_since + GRACE if self._blocking_reserves else now + GRACE
            if answered_by > now:
                later.append((answered_by, serial, request))
            else:
                self.abandon(request.result)
                request.expire()
        if later:
            self.timed += later
            heapify(self.timed)

    # --- the end ---

    def forget(self, requests: Iterable[Request]) -> None:
        """Take out requests whose callers know already that they have failed."""
        for request in requests:
            for places in (self.in_flight, self.queued):
                while request in places:
                    places.remove(request)

    def drop_queued(self) -> list[Request]:
        """Take out what is not written yet, in order."""
        requests = list(self.queued)
        self.queued.clear()
        self._queued_callers = None
        self._queued_watch_changes = 0
        return requests

    def clear(self) -> list[Request]:
        """Take out every request with a caller, in order."""
        requests = list(self.in_flight)
        if self.callers is not None:
            requests = [
                request
                for request in requests
                if not (isinstance(request, ReserveRequest) and request.may_follow_reserve)
            ]
            requests += self.callers.values()
        requests += self.drop_queued()
        self.in_flight.clear()
        self.output.clear()
        self.callers = None
        self._unwritten.clear()
        self.timed.clear()
        self.blocking = self._lookups = self._reserves_now = self._watch_changes = 0
        return requests


def returns_job(request: Request) -> bool:
    """Return whether this request returns a job, as the end of the connection does too."""
    if isinstance(request, PriorityLookup):
        request = request.settle
    return isinstance(request, InternalRequest) and request.command is RELEASE


def _callers_of(requests: Iterable[Request]) -> Callers:
    """Return the reserves among these that any job will do for, if they have a caller."""
    return OrderedDict(
        (request.result, request)
        for request in requests
        if isinstance(request, ReserveRequest) and request.may_follow_reserve and request.wanted
    )


def _nobody(job: Job) -> bool:
    """Offer the job to no caller."""
    return False
