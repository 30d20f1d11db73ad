"""One stream and one FIFO.

A command takes a place in the FIFO; a reply goes to the oldest place (protocol section 1.5).
Replies are parsed in the very call that reads them from the socket, so that each is at its
Future without another turn of the loop, and all that one turn issues leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import BeanstalkException, UnexpectedResponse
from ..job import Job
from ..protocol.commands import QUIT, RELEASE
from ..protocol.parser import Parser
from ..protocol.replies import MIN_PUT_REPLY, refusal, unexpected
from .pipeline import Fifo, returns_job
from .requests import NOWHERE, UNWRITTEN, Own, Place, Priority, Reservation, Reserve
from .timeouts import Patience
from .transport import Stream, TLSStream

log = logging.getLogger("beanstalkt")

HOLD_WARNING = 5.0
"""Seconds that a command is held behind a waiting reserve before a warning says so."""

PACE = 0.001
"""Seconds between two reads of the replies to put_many."""

GRACE = 0.5
"""Seconds that the server may take to say that there is no job, before the client says so for a
reserve that the server will not get to in time."""

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the replies to what was written."""


class Connection:
    """A connection that is open, until it ends. It never opens another one by itself.

    :param on_end: called once when it ends by itself, with the reason and with the waiting
        reserves that may go on elsewhere
    :param on_stuck: called when only reserves without a caller hold up the rest
    """

    def __init__(
        self,
        stream: Stream | TLSStream,
        loop: asyncio.AbstractEventLoop,
        response_timeout: float,
        on_end: Callable[[Connection, str, list[Reserve]], None],
        on_stuck: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.ended = False
        #: why it ended by itself
        self.reason = ""
        #: ids of the jobs that the server holds for this connection
        self.jobs: set[int] = set()
        #: a reply was read: whoever is at the other end does talk
        self.answered = False
        self.opened = loop.time()
        self._stream = stream
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._parser = Parser()
        self._fifo = Fifo()
        self._written = self._fifo.written
        self._patience = Patience(self._fifo, loop, response_timeout, self._catch_up, self._end)
        self._out: list[bytes] = []  # what leaves at the end of this turn
        self._gathers = 0  # the blocks whose end is waited for with all that is sent
        self._position = 0  # of the next byte to be written
        self._hold_timer: asyncio.TimerHandle | None = None
        self._warned = False
        self._response_timeout = response_timeout
        self._stuck_timer: asyncio.TimerHandle | None = None  # no other connection can be had
        self._stuck_at = 0.0  # the `quiet_since` of then
        self._paced = False  # replies are read in bulk
        self._pace_timer: asyncio.TimerHandle | None = None  # the next time that is done
        self._drained: asyncio.Future[None] | None = None  # while closing
        stream.start(self._receive, self._closed, self._patience.moved)

    # --- commands out ---

    def send(self, place: Place) -> None:
        """Writes the command, or holds it while a reserve waits."""
        if self.ended:
            place.lost(self.reason, sent=False)
            self._on_end(self, self.reason, [])  # it may not have come to the end of that
            return
        fifo = self._fifo
        if fifo.waiting:
            if fifo.held or not place.passes:
                self._hold(place)
                return
            if isinstance(place, Reserve) and self._send_behind_others(place):
                return
        try:
            if self._written or self._gathers:
                self._send_later(self._take(place))
            else:
                # The rest is done while the server is at work: no reply is read before we return.
                self._stream.send(place.line)
                self._take(place)
        except BaseException as error:
            self.interrupted(error, place)
            raise

    def _send_behind_others(self, place: Reserve) -> bool:
        """Keeps the timeout of a reserve behind one that waits; true if it need not be written."""
        self._keep_timeout(place)
        if not self._fifo.use_spare(place):
            return False
        self._check_stuck()
        return True

    def send_unit(self, places: list[Place]) -> None:
        """The same for commands that nothing may come between."""
        if self.ended:
            for place in places:
                place.lost(self.reason, sent=False)
            return
        if self._fifo.waiting:
            self._hold(*places)
            return
        at_once = not self._written and not self._gathers
        try:
            lines = [self._take(place) for place in places]
            if at_once:
                self._stream.send(b"".join(lines))
            else:
                for line in lines:
                    self._send_later(line)
        except BaseException as error:
            self.interrupted(error, *places)
            raise

    def send_behind(self, first: Place, second: Place) -> None:
        """The same for a command that is made of the reply to `first`, which holds the line."""
        if self._fifo.waiting:
            self._hold(first, second)
        else:
            self._send_pair(first, second)

    def _send_pair(self, first: Place, second: Place) -> None:
        """Has two such commands go in front of all that is held."""
        try:
            if self._fifo.waiting:
                self._fifo.hold_first(first, second)
            else:
                self._fifo.hold_first(second)
                self.send(first)
            self._holding()
        except BaseException as error:
            self.interrupted(error, first, second)
            raise

    def withdraw(self, place: Place | None) -> bool:
        """Takes the last command back, if it is that one and has not left yet."""
        fifo = self._fifo
        if fifo.held:
            if fifo.held[-1] is not place:
                return False
            fifo.held.pop()
            return True
        if not self._out or self._written[-1] is not place:
            return False
        self._written.pop()
        self._position -= len(self._out.pop())
        return True

    def _take(self, place: Place) -> bytes:
        """Gives the command its place in the FIFO, and returns what is to be written."""
        line, place.line = place.line, b""
        place.position = self._position
        self._position += len(line)
        written = self._written
        idle = not written
        if place.tracked:
            fifo = self._fifo
            if place.passes and fifo.callers is None:
                fifo.waiting += place.waits
            else:
                fifo.wrote(place)
            if isinstance(place, Reserve) and place.timeout is not None:
                place.begin(self.loop.time())
        if place.count == 1:
            written.append(place)
        else:
            written.extend([place] * place.count)
            self._pace()
        if idle:
            self._patience.begin()
        return line

    def _send_later(self, line: bytes) -> None:
        if not self._out and not self._gathers:
            self.loop.call_soon(self._flush)
        self._out.append(line)

    def __enter__(self) -> None:
        self._gathers += 1

    def __exit__(self, *exception: object) -> None:
        self._gathers -= 1
        if not self._gathers:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            try:
                data = b"".join(self._out)
                self._out.clear()
                self._stream.send(data)
            except BaseException as error:
                self.interrupted(error)
                raise

    # --- holding ---

    def _hold(self, *places: Place) -> None:
        self._fifo.hold(*places)
        for place in places:
            if isinstance(place, Reserve):
                self._keep_timeout(place)
        self._holding()

    def _holding(self) -> None:
        if self._hold_timer is None and not self._warned:
            self._hold_timer = self.loop.call_later(HOLD_WARNING, self._warn_of_hold)
        self._check_stuck()

    def _let_go(self) -> None:
        """Writes what was held, up to the next waiting reserve and the reserves behind it."""
        for place in self._fifo.released():
            self._send_held(place)
        if not self._fifo.held and self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _send_held(self, place: Place) -> None:
        if isinstance(place, Reserve) and place.ends is not None:
            place.renew(self, self.loop.time())
            if not self._fifo.reserving:
                place.future.stop_timer()  # from here on the server counts
        self._send_later(self._take(place))

    def _warn_of_hold(self) -> None:
        self._hold_timer = None
        held = self._fifo.held
        if not held:
            return  # all were cancelled
        self._warned = True
        waiting = next(place for place in self._written if place.waits)
        log.warning(
            "%s and %d more commands have been held for %g s behind a waiting %s: the server "
            "answers nothing else on a connection until that is answered. Use a second Client "
            "for reserving, or a reserve with a short timeout.",
            held[0].command.verb,
            len(held) - 1,
            HOLD_WARNING,
            waiting.command.verb,
        )

    # --- replies in ---

    def _receive(self, chunk: bytes) -> None:
        fifo, written = self._fifo, self._written
        place: Place | None = None
        progress = False
        try:
            for words, data in self._parser.feed(chunk):
                if not written:
                    raise unexpected(None, words)
                place = written.popleft()
                if place.tracked:
                    if place.passes and fifo.callers is None:
                        fifo.waiting -= place.waits
                    else:
                        fifo.answered(place)
                progress = True
                command = place.command
                if words[0] == command.success:
                    try:
                        result = command.read(words, data)
                    except ValueError:
                        self._refused(place, unexpected(command, words))
                    else:
                        place.done(result)
                else:
                    self._refused(place, refusal(command, words))
            if progress:
                self.answered = True
                waiting = written or fifo.held or fifo.callers
                if waiting or self._paced or self._drained is not None:
                    self._progressed()
            elif written:
                self._patience.moved(len(chunk))
        except BeanstalkException as error:
            self._break(error)
        except BaseException as error:
            if place is not None:
                written.appendleft(place)  # it may have got its reply, or not
            self.interrupted(error)
            raise

    def _progressed(self) -> None:
        """What there is to do when some places have got their replies, and others wait."""
        fifo, written = self._fifo, self._written
        if self._paced or (written and written[0].count > 1):
            self._pace()
        if written:
            self._patience.begin()
        while (reserve := fifo.to_ask()) is not None:
            self._send_held(reserve)
        if fifo.held:
            self._let_go()
        if fifo.waiting:
            self._check_stuck()
        if self._drained is not None:
            self._check_drained()

    def _refused(self, place: Place, error: BeanstalkException) -> None:
        """A reply that is not the success; raises it if the stream is of no use any more."""
        place.failed(error)
        if (
            place.vital
            or isinstance(error, UnexpectedResponse)
            or (error.status or "").encode() in place.command.fatal
        ):
            raise error

    def _break(self, error: BeanstalkException) -> None:
        """The stream is out of step: nothing that comes now can be told apart."""
        if isinstance(error, UnexpectedResponse) and error.command is None and self._written:
            # No place has got it yet: it was meant for the oldest.
            place = self._written.popleft()
            error.command = place.command.verb
            place.failed(error)
        self._end(str(error), error, keep_reserves=False)

    def _pace(self) -> None:
        """Has the replies to put_many read in bulk, rather than each as the server sends it.

        Waits only for bytes that are sure to come: those of one reply may have been read in
        part, and every other one is at least the shortest. What is there is read every
        millisecond all the same, because a server stalls when nothing is acknowledged.
        """
        written = self._written
        missing = written[0].missing if written else 1
        if missing > 1:
            self._paced = True
            self._stream.wake_at(MIN_PUT_REPLY * (missing - 1))
            if self._pace_timer is None:
                self._pace_timer = self.loop.call_later(PACE, self._read_paced)
        elif self._paced:
            self._paced = False
            self._stream.wake_at(1)
            if self._pace_timer is not None:
                self._pace_timer.cancel()
                self._pace_timer = None

    def _catch_up(self) -> None:
        """Does what should have been done by now.

        The loop may have been too busy, or have forgotten it: where a signal's handler raises
        in the loop itself, that drops the call which it was about to make.
        """
        self._flush()
        if self._stream.closed():
            self._closed()
        elif self._pace_timer is None:
            self._stream.read_now()
        else:
            self._pace_timer.cancel()
            self._read_paced()

    def _read_paced(self) -> None:
        self._pace_timer = None
        self._stream.read_now()
        if not self.ended:
            self._pace()

    # --- reserves without a caller, and those behind them ---

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """A job that its reserve no longer wants: to the next one that waits, or to its tube."""
        self.jobs.discard(job.id)
        if self.ended or self._drained is not None:
            return  # the server returns it
        if to_anyone and self._hand_over(job):
            return
        # What waits when the priority is known may want other tubes.
        to_anyone = to_anyone and not self._fifo.changes
        release = Own(RELEASE, b"")

        def fill(priority: int) -> None:
            if not (to_anyone and self._hand_over(job)):
                release.line = RELEASE.encode(job.id, priority, 0)

        # A refusal is fine: the job ran out of time or was deleted, and is not ours to return.
        # Only the job's own statistics tell the priority that it must keep. Not behind what is
        # held: a reserve may be there that waits for just this job.
        self._send_pair(Priority(job.id, fill, release), release)

    def _hand_over(self, job: Job) -> bool:
        return self._fifo.hand_over(job)

    def abandoned(self, future: Reservation) -> None:
        """A reserve was cancelled."""
        self._fifo.gave_up(future)
        self._check_stuck()

    def _keep_timeout(self, place: Reserve) -> None:
        """Has the client itself end a reserve whose turn at the server may come too late."""
        if place.timeout is None or not place.passes:
            return
        place.begin(self.loop.time())
        assert place.ends is not None
        # The one that waits may have been written just now, and a job may be there.
        when = max(place.ends, self.quiet_since + GRACE)
        place.future.timer = self.loop.call_at(when, self._expire, place)

    def _expire(self, place: Reserve) -> None:
        if self._fifo.reserving:
            place.future.timer = None
            self._fifo.gave_up(place.future)
            place.expire("")
            self._check_stuck()
        else:
            # Nothing in front of it waits any more: its own reply comes soon.
            place.future.timer = self.loop.call_later(GRACE, self._expire, place)

    @property
    def stuck(self) -> bool:
        """Something waits here that is not answered because of reserves without a caller."""
        return not self.ended and self._fifo.stuck

    @property
    def quiet_since(self) -> float:
        """Nothing was answered since then: another time is another state."""
        return self._patience.since

    def _check_stuck(self) -> None:
        if not self.stuck:
            return
        if self._stuck_timer is None:
            self._watch_stuck()
        self._on_stuck(self)

    def _watch_stuck(self) -> None:
        self._stuck_at = self.quiet_since
        self._stuck_timer = self.loop.call_later(self._response_timeout, self._still_stuck)

    def _still_stuck(self) -> None:
        """Ends a connection that cannot be left: the server accepts no other one.

        Not while it holds jobs: they would be given to others.
        """
        self._stuck_timer = None
        if not self.stuck:
            return
        if self.jobs or self._stuck_at != self.quiet_since:
            self._watch_stuck()
        else:
            self._end(
                f"no reply to {self._written[0].command.verb}, which was cancelled, and no other "
                f"connection within {self._response_timeout:g} s"
            )

    # --- the end ---

    def leave(self) -> list[Place]:
        """Ends the connection; returns what may be sent on another one in its stead, in order."""
        return [
            place
            for place in self._stop()
            if (place.live if isinstance(place, Reserve) else not returns_job(place))
        ]

    async def close(self) -> None:
        """Says ``quit`` once all that was written is answered, and ends the connection.

        A waiting reserve is not waited for; nor is a server that takes too long.
        """
        self._drained = self.loop.create_future()
        for place in self._fifo.drop_held():
            place.lost("the client was closed", sent=False)
        try:
            self._check_drained()
            await asyncio.wait([self._drained], timeout=CLOSE_TIMEOUT)
            self._flush()
            self._stream.send(QUIT)
        finally:
            self.give_up()

    def abandon(self) -> None:
        """Ends the connection when its loop was closed: nobody who waits can be told."""
        self.ended = True
        self.reason = "its event loop was closed"
        self._patience.stop()
        self._stream.close_fd()

    def give_up(self) -> None:
        """Ends the connection now; what still waits fails with ConnectionLost."""
        self._end("the client was closed", keep_reserves=False)

    def _check_drained(self) -> None:
        written = self._written
        if (
            self._drained is not None
            and not self._drained.done()
            and (not written or written[0].waits)
        ):
            self._drained.set_result(None)

    def interrupted(self, error: BaseException, *unfinished: Place) -> None:
        """Ends the connection because a step on it did not come to its end.

        A signal's handler may raise anywhere. What the server has got is not known then, so a
        reply could go to the wrong place, or never come.

        :param unfinished: places whose caller is told by `error` itself
        """
        for places in (self._written, self._fifo.held):
            for place in unfinished:
                while place in places:
                    places.remove(place)
        self._stream.handed = self._position  # or less: nobody has counted
        self._end(f"interrupted by {type(error).__name__}", error, keep_reserves=False)

    def _closed(self) -> None:
        self._end(self._stream.reason())

    def _end(
        self, reason: str, cause: BaseException | None = None, keep_reserves: bool = True
    ) -> None:
        if self.ended:
            return
        self.reason = reason
        on: list[Reserve] = []
        for place in self._stop():
            if keep_reserves and isinstance(place, Reserve) and place.waits and place.live:
                place.future.holder = NOWHERE
                on.append(place)
            else:
                sent = UNWRITTEN < place.position < self._stream.handed
                place.lost(reason, sent, cause)
        self._on_end(self, reason, on)

    def _stop(self) -> list[Place]:
        """Ends all that runs, and takes out all that waits."""
        self.ended = True
        for timer in (self._hold_timer, self._pace_timer, self._stuck_timer):
            if timer is not None:
                timer.cancel()
        self._patience.stop()
        self._out.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._stream.close()
        places = self._fifo.clear()
        for place in places:
            if isinstance(place, Reserve):
                place.future.stop_timer()
        return places
