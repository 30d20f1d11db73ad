"""A connection: one transport, one pipeline, and the timers between them.

Replies are parsed in the very call that reads them from the socket, so that each is at its
Future without another turn of the loop, and all that one turn issues leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence

from ..errors import BeanstalkException
from ..job import Job
from ..protocol.commands import QUIT
from ..protocol.replies import MIN_PUT_REPLY
from .pipeline import Pipeline, returns_job
from .requests import NO_CONNECTION, UNWRITTEN, Request, ReserveRequest
from .timeouts import ReplyTimeout
from .timers import LazyTimer
from .timing import Timing
from .transport import MAX_READ_SIZE, READ_SIZE, TLSTransport, Transport

log = logging.getLogger("beanstalkt")


class Connection:
    """A connection that is open, until it ends. It never opens another one by itself.

    :param on_end: called once when it ends by itself, with the reason and with the waiting
        reserves that may go on elsewhere
    :param on_stuck: called when only reserves without a caller hold up the rest
    """

    def __init__(
        self,
        transport: Transport | TLSTransport,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        on_end: Callable[[Connection, str, list[ReserveRequest]], None],
        on_stuck: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        #: whether it has ended
        self.ended = False
        #: why it ended by itself
        self.reason = ""
        #: whether a reply was read, so whoever is at the other end does talk
        self.answered = False
        #: whether it ended because a signal's handler raised, which the program hears of anyway
        self.was_interrupted = False
        #: when it was opened, on the loop's clock
        self.opened = loop.time()
        self._transport = transport
        self._timing = timing
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._pipeline = pipeline = Pipeline(loop.time)
        #: ids of the jobs that the server holds for this connection
        self.jobs = pipeline.jobs
        self._in_flight = pipeline.in_flight
        self._reply_timeout = ReplyTimeout(pipeline, loop, timing, self._catch_up, self.abort)
        self._gathering = 0  # nested `together` blocks: what is sent waits for the last to end
        self._flushing = False  # the rest of this turn's output is about to leave
        self._hold_timer = LazyTimer(loop, self._warn_of_hold)
        self._holding = False  # something is queued
        self._warned = False
        self._reserve_timer = LazyTimer(loop, self._expire_reserves)
        self._stuck_timer = LazyTimer(loop, self._check_still_stuck)
        self._stuck_since: float | None = None  # the pipeline's `quiet_since` of then
        self._paced = False  # replies are read in bulk
        self._pace_timer: asyncio.TimerHandle | None = None  # the next time that is done
        self._drained: asyncio.Future[None] | None = None  # while closing
        transport.start(self._receive, self._closed, self._reply_timeout.moved)

    # --- commands out ---

    def send(self, request: Request) -> None:
        """Write the request, or queue it while a reserve waits."""
        if self.ended:
            request.lost(self.reason, sent=False)
            self._on_end(self, self.reason, [])  # it may not have come to the end of that
            return
        pipeline = self._pipeline
        try:
            if pipeline.blocking and not pipeline.admit(request):
                self._after_sending(written=False)
            elif self._in_flight or self._gathering:
                pipeline.output.append(pipeline.write(request))
                if not self._flushing:
                    self._after_sending(written=True)
            else:
                self._transport.send(pipeline.write(request))
                if not self._reply_timeout.watching:
                    self._reply_timeout.watch()
        except BaseException as error:
            self.interrupted(error, request)
            raise

    def send_chunk(self, chunk: Request, tube: str, home: str) -> None:
        """Write puts whose replies are read in bulk, to `tube`.

        :param home: the tube in use when all that was sent before has been done
        """
        if tube == home:
            self.send(chunk)
        else:
            self.send_in_tube(chunk, tube, home)
        if not self.ended:
            self._pace()

    def send_unit(self, requests: Sequence[Request]) -> None:
        """Write requests that nothing may come between, or queue them while a reserve waits."""
        if self.ended:
            for request in requests:
                request.lost(self.reason, sent=False)
            return
        idle = not self._in_flight
        try:
            self._after_sending(self._pipeline.send_unit(requests), idle)
        except BaseException as error:
            self.interrupted(error, *requests)
            raise

    def send_in_tube(self, request: Request, tube: str, home: str) -> None:
        """Write the request to another tube than the one in use, and come back.

        :param home: the tube in use when all that was sent before has been done
        """
        if self.ended:
            request.lost(self.reason, sent=False)
            return
        idle = not self._in_flight
        try:
            self._after_sending(self._pipeline.send_in_tube(request, tube, home), idle)
        except BaseException as error:
            self.interrupted(error, request)
            raise

    def _after_sending(self, written: bool, idle: bool = False) -> None:
        """Do what is due after the pipeline has taken in requests.

        :param written: whether they went to its output, not to its queue
        :param idle: whether nothing was in flight before
        """
        if not written:
            self._after_queueing()
        elif idle and not self._gathering:
            self._write()
        elif not self._flushing:
            self._flush_soon()
        if self._pipeline.timed:
            self._set_reserve_timer()
        if not self._reply_timeout.watching:
            self._reply_timeout.watch()

    def _flush_soon(self) -> None:
        # The end of a `together` block writes what was sent in it.
        if self._pipeline.output and not self._flushing and not self._gathering:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._gathering:
            self._write()

    def _write(self) -> None:
        if self._pipeline.output:
            try:
                self._transport.send(self._pipeline.data_to_send())
            except BaseException as error:
                self.interrupted(error)
                raise

    def __enter__(self) -> None:
        self._gathering += 1

    def __exit__(self, *exception: object) -> None:
        self._gathering -= 1
        if not self._gathering:
            self._write()

    # --- what a waiting reserve holds up ---

    def _after_queueing(self) -> None:
        """Begin to count how long a reserve holds up what is queued; it may be one to leave."""
        if not self._holding and self._pipeline.queued:
            self._holding = True
            if not self._warned:
                self._hold_timer.set(self.loop.time() + self._timing.hold_warning)
        self._check_stuck()

    def _warn_of_hold(self) -> None:
        queued = self._pipeline.queued
        if not queued:
            self._holding = False  # all were cancelled
            return
        self._warned = True
        waiting = next(request for request in self._in_flight if request.blocks)
        log.warning(
            "%s and %d more commands have been held for %g s after a waiting %s: the server "
            "answers nothing else on a connection until that is answered. Use a second Client "
            "for reserving, or a reserve with a short timeout.",
            queued[0].command.verb,
            len(queued) - 1,
            self._timing.hold_warning,
            waiting.command.verb,
        )

    def _set_reserve_timer(self) -> None:
        when = self._pipeline.next_timeout
        if when is not None:
            self._reserve_timer.set(when)

    def _expire_reserves(self) -> None:
        self._pipeline.expire()
        self._set_reserve_timer()
        self._check_stuck()

    # --- replies in ---

    def _receive(self, chunk: bytes) -> None:
        try:
            self._transport.read_size = READ_SIZE
            if self._pipeline.receive(chunk):
                self.answered = True
                if self._in_flight or self._holding or self._paced or self._drained is not None:
                    self._after_replies()
            elif self._in_flight:
                self._reply_timeout.moved(len(chunk))
                self._expect_body()
        except BeanstalkException as error:
            # The stream is out of step: nothing that comes now can be told apart.
            self.abort(str(error), error, keep_reserves=False)
        except BaseException as error:
            self.interrupted(error)
            raise

    def _after_replies(self) -> None:
        """Do what is due when some requests have got their replies, and others wait."""
        pipeline, in_flight = self._pipeline, self._in_flight
        if self._paced or (in_flight and in_flight[0].missing > 1):
            self._pace()
        if in_flight:
            self._expect_body()
            if not self._reply_timeout.watching:
                self._reply_timeout.watch()
        self._flush_soon()
        if self._holding and not pipeline.queued:
            self._holding = False
            self._hold_timer.clear()
        if pipeline.blocking:
            self._check_stuck()
        if self._drained is not None:
            self._check_drained()

    def _expect_body(self) -> None:
        """Read the rest of a long body in as few pieces as possible."""
        missing = self._pipeline.missing
        if missing > READ_SIZE:
            self._transport.read_size = min(missing, MAX_READ_SIZE)

    def _pace(self) -> None:
        """Have the replies to put_many read in bulk, rather than each as the server sends it.

        Waits only for bytes that are sure to come: those of one reply may have been read in
        part, and every other one is at least the shortest. What is there is read every
        millisecond all the same, because a server stalls when nothing is acknowledged.
        """
        missing = self._in_flight[0].missing if self._in_flight else 1
        if missing > 1:
            self._paced = True
            self._transport.wake_at(MIN_PUT_REPLY * (missing - 1))
            if self._pace_timer is None:
                self._pace_timer = self.loop.call_later(self._timing.pace, self._read_paced)
        elif self._paced:
            self._paced = False
            self._transport.wake_at(1)
            if self._pace_timer is not None:
                self._pace_timer.cancel()
                self._pace_timer = None

    def _read_paced(self) -> None:
        self._pace_timer = None
        self._transport.read_now()
        if not self.ended:
            self._pace()

    def _catch_up(self) -> None:
        """Do what should have been done by now.

        The loop may have been too busy, or have forgotten it: where a signal's handler raises
        in the loop itself, that drops the call which it was about to make.
        """
        self._flush()
        if self._transport.closed():
            self._closed()
        elif self._pace_timer is None:
            self._transport.read_now()
        else:
            self._pace_timer.cancel()
            self._read_paced()

    # --- reserves without a caller, and those after them ---

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """Hand a job without a caller to the next one that waits, or return it to its tube."""
        if self.ended or self._drained is not None:
            self.jobs.discard(job.id)
            return  # the server returns it
        self._pipeline.give_back(job, to_anyone)
        self._after_sending(written=False)
        self._flush_soon()
        self._check_stuck()

    def abandon(self, result: Hashable) -> None:
        """Forget the caller of a reserve, who waits for this result."""
        self._pipeline.abandon(result)
        self._check_stuck()

    @property
    def stuck(self) -> bool:
        """Whether something waits here for the reply to reserves without a caller."""
        return not self.ended and self._pipeline.stuck

    @property
    def awaits_replies(self) -> bool:
        """Whether commands were sent that have no reply yet."""
        return bool(self._in_flight)

    def is_silent_for(self, seconds: float) -> bool:
        """Return whether a command has waited for its reply for longer, and nothing has come."""
        if not self._in_flight:
            return False
        return self.loop.time() - self._pipeline.quiet_since > seconds

    @property
    def quiet_since(self) -> float:
        """When a reply, or some bytes of a long one, came last."""
        return self._pipeline.quiet_since

    def _check_stuck(self) -> None:
        if not self.stuck:
            return
        if self._stuck_since is None:
            self._watch_stuck()
        self._on_stuck(self)

    def _watch_stuck(self) -> None:
        self._stuck_since = self.quiet_since
        self._stuck_timer.set(self.loop.time() + self._timing.response_timeout)

    def _check_still_stuck(self) -> None:
        """End a connection that cannot be left, since the server accepts no other one.

        Not while it holds jobs: they would be given to others.
        """
        since, self._stuck_since = self._stuck_since, None
        if not self.stuck:
            return
        if self.jobs or since != self.quiet_since:
            self._watch_stuck()
        else:
            self.abort(
                f"no reply to {self._in_flight[0].command.verb}, which was cancelled, and no "
                f"other connection within {self._timing.response_timeout:g} s"
            )

    # --- the end ---

    async def close(self) -> None:
        """Say ``quit`` once all that was written is answered, and end the connection.

        A waiting reserve is not waited for; nor is a server that takes too long.
        """
        self._drained = self.loop.create_future()
        for request in self._pipeline.drop_queued():
            request.lost("the client was closed", sent=False)
        try:
            self._check_drained()
            await asyncio.wait([self._drained], timeout=self._timing.close_timeout)
            self._write()
            self._transport.send(QUIT)
        finally:
            self.abort_closing()

    def abort_closing(self) -> None:
        """End the connection now, since the client was closed."""
        self.abort("the client was closed", keep_reserves=False)

    def drop(self) -> None:
        """End the connection when its loop was closed: no caller can be told."""
        self.ended = True
        self.reason = "its event loop was closed"
        for timer in (self._hold_timer, self._reserve_timer, self._stuck_timer):
            timer.close()
        self._reply_timeout.close()
        self._transport.close_fd()

    def abort(
        self, reason: str, cause: BaseException | None = None, keep_reserves: bool = True
    ) -> None:
        """End the connection now; what still waits fails with ConnectionLost.

        :param keep_reserves: hand the waiting reserves to `on_end`, for another connection
        """
        if self.ended:
            return
        self.reason = reason
        kept: list[ReserveRequest] = []
        for request in self._finish():
            if (
                keep_reserves
                and isinstance(request, ReserveRequest)
                and request.blocks
                and request.wanted
            ):
                request.result.holder = NO_CONNECTION
                kept.append(request)
            else:
                sent = UNWRITTEN < request.position < self._transport.handed
                request.lost(reason, sent, cause)
        self._on_end(self, reason, kept)

    def detach(self) -> list[Request]:
        """End the connection; return what may be sent on another one in its stead, in order."""
        return [
            request for request in self._finish() if request.wanted and not returns_job(request)
        ]

    def _closed(self) -> None:
        self.abort(self._transport.reason())

    def interrupted(self, error: BaseException, *unfinished: Request) -> None:
        """End the connection because a step on it did not come to its end.

        A signal's handler may raise anywhere. What the server has got is not known then, so a
        reply could go to the wrong caller, or never come.

        :param unfinished: requests whose callers get `error` itself
        """
        self.was_interrupted = True
        self._pipeline.forget(unfinished)
        self._transport.handed = self._pipeline.position  # or less: nothing has counted
        self.abort(f"interrupted by {type(error).__name__}", error, keep_reserves=False)

    def _check_drained(self) -> None:
        if (
            self._drained is not None
            and not self._drained.done()
            and (not self._in_flight or self._in_flight[0].blocks)
        ):
            self._drained.set_result(None)

    def _finish(self) -> list[Request]:
        """Stop all that runs, and take out all that waits."""
        self.ended = True
        for timer in (self._hold_timer, self._reserve_timer, self._stuck_timer):
            timer.close()
        if self._pace_timer is not None:
            self._pace_timer.cancel()
        self._reply_timeout.close()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._transport.close()
        return self._pipeline.clear()
