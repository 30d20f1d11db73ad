"""One stream and one FIFO.

A command takes a place in the FIFO; a reply goes to the oldest place (protocol section 1.5).
Replies are parsed in the very call that reads them from the socket, so that each is at its
Future without another turn of the loop, and all that one turn issues leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import chain

from .errors import BeanstalkException, UnexpectedResponse
from .job import Job
from .place import UNWRITTEN, Own, Place, Priority, Reserve
from .protocol import (
    IGNORE,
    MIN_PUT_REPLY,
    QUIT,
    RELEASE,
    RESERVE,
    WATCH,
    Parser,
    refusal,
    unexpected,
)
from .stream import Stream, TLSStream

log = logging.getLogger("beanstalkt")

HOLD_WARNING = 5.0
"""Seconds that a command is held behind a waiting reserve before a warning says so."""

LAST_CHANCE = 1.0
"""Seconds that a reply may be late, with the loop running; a loop that was blocked is to blame."""

PACE = 0.001
"""Seconds between two reads of the replies to put_many."""

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the replies to what was written."""


class Connection:
    """A connection that is open, until it ends. It never opens another one by itself.

    :param on_end: called once when it ends by itself, with the reason and with the waiting
        reserves that may go on elsewhere
    :param on_stuck: called when only a reserve that nobody wants holds up the rest
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
        self._response_timeout = response_timeout
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._parser = Parser()
        self._written: deque[Place] = deque()  # in the order of their replies
        self._held: deque[Place] = deque()  # behind a waiting reserve, in the order of calls
        self._waiting = 0  # reserves among the written ones that may wait
        self._out: list[bytes] = []  # what leaves at the end of this turn
        self._position = 0  # of the next byte to be written
        self._oldest_since = 0.0  # when the oldest place became the oldest
        self._doubted = 0.0  # the value of that for which a reply was found to be late
        self._response_timer: asyncio.TimerHandle | None = None
        self._hold_timer: asyncio.TimerHandle | None = None
        self._warned = False
        self._unwanted = False  # a reserve that nobody wants may be among the written ones
        self._paced = False  # replies are read in bulk
        self._pace_timer: asyncio.TimerHandle | None = None  # the next time that is done
        self._drained: asyncio.Future[None] | None = None  # while closing
        stream.start(self._receive, self._closed)

    # --- commands out ---

    def send(self, place: Place) -> None:
        """Writes the command, or holds it while a reserve waits.

        A server answers nothing before it has answered a waiting reserve (protocol section
        4.1), so until then only further reserves are written. What is held leaves in order.
        """
        if self._waiting:
            if self._held or not place.passes:
                self._hold(place)
                return
            if self._unwanted and self._take_over(place):
                return
        idle = not self._written
        line = self._take(place)
        if idle:
            self._stream.send(line)
        else:
            self._send_later(line)

    def send_unit(self, places: list[Place]) -> None:
        """The same for commands that nothing may come between."""
        if self._waiting:
            for place in places:
                self._hold(place)
            return
        idle = not self._written
        lines = [self._take(place) for place in places]
        if idle:
            self._stream.send(b"".join(lines))
        else:
            for line in lines:
                self._send_later(line)

    def withdraw(self, place: Place | None) -> bool:
        """Takes the last command back, if it is that one and has not left yet."""
        if self._held:
            if self._held[-1] is not place:
                return False
            self._held.pop()
            return True
        if not self._out or self._written[-1] is not place:
            return False
        self._written.pop()
        self._position -= len(self._out.pop())
        return True

    def send_behind(self, first: Place, second: Place) -> None:
        """The same for a command that is made of the reply to `first`, which holds the line."""
        if self._waiting:
            self._held.append(first)
            self._hold(second)
        else:
            self._send_pair(first, second)

    def _send_pair(self, first: Place, second: Place) -> None:
        """Has two such commands go in front of all that is held."""
        self._held.appendleft(second)
        if self._waiting:
            self._held.appendleft(first)
        else:
            self.send(first)
        self._holding()

    def _take(self, place: Place) -> bytes:
        """Gives the command its place in the FIFO, and returns what is to be written."""
        line, place.line = place.line, b""
        place.position = self._position
        self._position += len(line)
        if place.waits:
            self._begin_wait(place)
        if not self._written:
            self._oldest_since = self.loop.time()
        if place.count == 1:
            self._written.append(place)
        else:
            self._written.extend([place] * place.count)
            self._pace()
        if self._response_timer is None:
            self._watch_oldest()
        return line

    def _begin_wait(self, place: Place) -> None:
        if isinstance(place, Reserve):
            place.begin(self.loop.time())
        self._waiting += 1

    def _send_later(self, line: bytes) -> None:
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(line)

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._stream.send(data)

    # --- holding ---

    def _hold(self, place: Place) -> None:
        self._held.append(place)
        self._holding()

    def _holding(self) -> None:
        if self._hold_timer is None and not self._warned:
            self._hold_timer = self.loop.call_later(HOLD_WARNING, self._warn_of_hold)
        self._check_stuck()

    def _let_go(self) -> None:
        """Writes what was held, up to the next waiting reserve and the reserves behind it."""
        held = self._held
        while held and (not self._waiting or held[0].passes):
            place = held.popleft()
            # A reserve that was cancelled, or got its job from another one, need not be asked;
            # a command without a line turned out to be needless.
            if place.live if isinstance(place, Reserve) else place.line:
                self._send_later(self._take(place))
        if not held and self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _warn_of_hold(self) -> None:
        self._hold_timer = None
        self._warned = True
        waiting = next(place for place in self._written if place.waits)
        log.warning(
            "%s and %d more commands have been held for %g s behind a waiting %s: the server "
            "answers nothing else on a connection until that is answered. Use a second Client "
            "for reserving, or a reserve with a short timeout.",
            self._held[0].command.verb,
            len(self._held) - 1,
            HOLD_WARNING,
            waiting.command.verb,
        )

    # --- replies in ---

    def _receive(self, chunk: bytes) -> None:
        written = self._written
        progress = False
        try:
            for words, data in self._parser.feed(chunk):
                if not written:
                    raise unexpected(None, words)
                place = written.popleft()
                progress = True
                if place.waits:
                    self._waiting -= 1
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
        except BeanstalkException as error:
            self._break(error)
            return
        if not progress:
            return
        self.answered = True
        if self._paced or (written and written[0].count > 1):
            self._pace()
        if written:
            self._oldest_since = self.loop.time()
            if self._response_timer is None:
                self._watch_oldest()
        if self._held:
            self._let_go()
        if self._waiting:
            self._check_stuck()
        if self._drained is not None:
            self._check_drained()

    def _pace(self) -> None:
        """Has the replies to put_many read in bulk, rather than each as the server sends it.

        Waits only for bytes that are sure to come: those of one reply may have been read in
        part, and every other one is at least the shortest. What is there is read every
        millisecond all the same, because a server stalls when nothing is acknowledged.
        """
        missing = self._written[0].missing if self._written else 1
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

    def _read_paced(self) -> None:
        self._pace_timer = None
        self._stream.read_now()
        if not self.ended:
            self._pace()

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

    # --- the time that a reply takes ---

    def _watch_oldest(self) -> None:
        patience = self._patience()
        if patience is not None:
            # Never longer than that: the next place may have less patience than this one.
            left = self._oldest_since + patience - self.loop.time()
            self._response_timer = self.loop.call_later(
                min(left, self._response_timeout), self._check_oldest
            )

    def _patience(self) -> float | None:
        """Seconds that the oldest place waits for its reply; None: relies on keep-alive."""
        oldest = self._written[0]
        if not oldest.waits or not isinstance(oldest, Reserve):
            return self._response_timeout
        return None if oldest.timeout is None else self._response_timeout + oldest.timeout

    def _check_oldest(self) -> None:
        self._response_timer = None
        if not self._written:
            return
        if self._overdue():
            # The loop may have been too busy to read, or waits for more bytes (see `_pace`).
            self._stream.read_now()
        if self.ended or not self._written or self._response_timer is not None:
            return
        if not self._overdue():
            self._watch_oldest()
        elif self._doubted != self._oldest_since:
            # Where user code has blocked the loop, the command may not even be written yet.
            self._doubted = self._oldest_since
            self._response_timer = self.loop.call_later(
                min(LAST_CHANCE, self._response_timeout), self._check_oldest
            )
        else:
            verb = self._written[0].command.verb
            self._end(f"no reply to {verb} within {self._patience():g} s")

    def _overdue(self) -> bool:
        patience = self._patience()
        return patience is not None and self.loop.time() >= self._oldest_since + patience

    # --- reserves that nobody wants any more ---

    def give_back(self, job: Job, to_anyone: bool) -> None:
        """A job that its reserve no longer wants: to the next one that waits, or to its tube."""
        self.jobs.discard(job.id)
        if self.ended or self._drained is not None:
            return  # the server returns it
        if to_anyone and self._hand_over(job):
            return

        release = Own(RELEASE, b"")

        def fill(priority: int) -> None:
            if not (to_anyone and self._hand_over(job)):
                release.line = RELEASE.encode(job.id, priority, 0)

        # A refusal is fine: the job ran out of time or was deleted, and is not ours to return.
        # Only the job's own statistics tell the priority that it must keep. Not behind what is
        # held: a reserve may be there that waits for just this job.
        self._send_pair(Priority(job.id, fill, release), release)

    def _hand_over(self, job: Job) -> bool:
        for place in chain(self._written, self._held):
            if place.command in (WATCH, IGNORE):
                return False  # what waits behind it may want other tubes
            if isinstance(place, Reserve) and place.live and place.passes:
                self.jobs.add(job.id)
                place.future.set_result(job)
                self._unwanted = True
                return True
        return False

    def abandoned(self) -> None:
        """A reserve was cancelled."""
        self._unwanted = True
        self._check_stuck()

    def _take_over(self, place: Place) -> bool:
        """Has a plain reserve wait in the place of one that was cancelled, with nothing written.

        Were it written, each reserve that was given up after a while would leave one more at
        the server, and when a job comes at last, its settling would be held behind them all.
        Those in between move up; a reserve with another timeout is not passed.
        """
        if place.command is not RESERVE:
            return False
        assert isinstance(place, Reserve)
        plain: list[Reserve] = []
        for each in reversed(self._written):
            if not isinstance(each, Reserve) or (each.live and each.command is not RESERVE):
                break
            if each.command is RESERVE:
                plain.append(each)
        live = [each.future for each in reversed(plain) if each.live]
        dead = [each.future for each in plain if not each.live]
        if not dead:
            self._unwanted = any(isinstance(e, Reserve) and not e.live for e in self._written)
            return False
        live.append(place.future)
        for each, future in zip(reversed(plain), [*live, *dead[1:]], strict=True):
            each.future = future
        return True

    @property
    def stuck(self) -> bool:
        """Something waits behind reserves that nobody wants, or a job that nobody wants does."""
        if not self._waiting or self.ended:
            return False
        job_waits = bool(self._held) and _gives_back(self._held[0])
        wanted = False
        for place in self._written:
            if not isinstance(place, Reserve) or not place.passes:
                return False  # its reply is on the way
            if place.live:
                if place.waits and not job_waits:
                    return False
                wanted = True
        return wanted or any(not isinstance(place, Reserve) or place.live for place in self._held)

    @property
    def quiet_since(self) -> float:
        """Nothing was answered since then: another time is another state."""
        return self._oldest_since

    def _check_stuck(self) -> None:
        if self.stuck:
            self._on_stuck(self)

    def _pending(self) -> chain[Place]:
        return chain(self._written, self._held)

    # --- the end ---

    def leave(self) -> list[Place]:
        """Ends the connection; returns what may be sent on another one in its stead, in order."""
        pending = [
            place
            for place in self._pending()
            if (place.live if isinstance(place, Reserve) else not _gives_back(place))
        ]
        self._written.clear()
        self._held.clear()
        self._stop()
        return pending

    async def close(self) -> None:
        """Says ``quit`` once all that was written is answered, and ends the connection.

        A waiting reserve is not waited for; nor is a server that takes too long.
        """
        self._drained = self.loop.create_future()
        held = list(self._held)
        self._held.clear()
        for place in held:
            place.lost("the client was closed", sent=False)
        try:
            self._check_drained()
            await asyncio.wait([self._drained], timeout=CLOSE_TIMEOUT)
            self._flush()
            self._stream.send(QUIT)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Ends the connection now; what still waits fails with ConnectionLost."""
        self._end("the client was closed", keep_reserves=False)

    def _check_drained(self) -> None:
        if self._drained is None or self._drained.done():
            return
        if not self._written or self._written[0].waits:
            self._drained.set_result(None)

    def _closed(self) -> None:
        self._end(self._stream.reason())

    def _end(
        self, reason: str, cause: BaseException | None = None, keep_reserves: bool = True
    ) -> None:
        if self.ended:
            return
        self.reason = reason
        pending = list(self._pending())
        self._stop()
        on: list[Reserve] = []
        for place in pending:
            if keep_reserves and isinstance(place, Reserve) and place.waits and place.live:
                place.future.holder = None
                on.append(place)
            else:
                sent = UNWRITTEN < place.position < self._stream.handed
                place.lost(reason, sent, cause)
        self._on_end(self, reason, on)

    def _stop(self) -> None:
        self.ended = True
        for timer in (self._response_timer, self._hold_timer, self._pace_timer):
            if timer is not None:
                timer.cancel()
        self._written.clear()
        self._held.clear()
        self._out.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._stream.close()


def _gives_back(place: Place) -> bool:
    """One of the two commands that return a job, as the end of the connection does too."""
    if isinstance(place, Priority):
        place = place.behind
    return isinstance(place, Own) and place.command is RELEASE
