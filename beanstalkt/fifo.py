"""The FIFO of a connection: the places whose commands were written, and those held behind them.

It does no I/O and keeps no time. A server answers nothing before it has answered a waiting
reserve (protocol section 4.1), so while one waits only further reserves are written; the rest is
held here, in the order of the calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from .job import Job
from .place import Own, Place, Priority, Reserve
from .protocol import IGNORE, RELEASE, RESERVE, WATCH


class Fifo:
    """The places in order.

    :ivar written: the oldest first; the next reply belongs to it
    :ivar held: not written yet
    :ivar waiting: how many of the written ones hold the line; whoever writes them counts
    :ivar unwanted: a reserve that nobody wants any more may be among the written ones
    """

    def __init__(self) -> None:
        self.written: deque[Place] = deque()
        self.held: deque[Place] = deque()
        self.waiting = 0
        self.unwanted = False

    def hold(self, *places: Place) -> None:
        """Adds commands that are not written yet."""
        self.held.extend(places)

    def hold_first(self, *places: Place) -> None:
        """Adds commands of the client's own in front of all that is held."""
        self.held.extendleft(reversed(places))

    def released(self) -> Iterator[Place]:
        """Takes out what was held and may be written now: write each before the next."""
        held = self.held
        while held and (not self.waiting or held[0].passes):
            place = held[0]
            # A reserve that was cancelled, or got its job from another one, need not be asked;
            # a command without a line turned out to be needless.
            if place.live if isinstance(place, Reserve) else place.line:
                yield place
            # Only now: interrupted in between, it must still be found.
            held.popleft()

    def __iter__(self) -> Iterator[Place]:
        return chain(self.written, self.held)

    def drop_held(self) -> list[Place]:
        """Takes out what is not written yet, in order."""
        places = list(self.held)
        self.held.clear()
        return places

    def clear(self) -> list[Place]:
        """Takes out everything, in order."""
        places = list(self)
        self.written.clear()
        self.held.clear()
        self.waiting = 0
        return places

    # --- reserves that nobody wants any more ---

    def abandoned(self) -> None:
        """A reserve was cancelled."""
        self.unwanted = True

    def hand_over(self, job: Job) -> bool:
        """Gives a job that nobody wants to the next reserve that waits, if there is one."""
        if not self.waiting:
            return False
        for place in self:
            if place.command in (WATCH, IGNORE):
                return False  # what waits behind it may want other tubes
            if isinstance(place, Reserve) and place.live and place.passes:
                place.future.set_result(job)
                self.unwanted = True
                return True
        return False

    def take_over(self, place: Place) -> bool:
        """Has a plain reserve wait in the place of one that was cancelled, with nothing written.

        Were it written, each reserve that was given up after a while would leave one more at
        the server, and when a job comes at last, its settling would be held behind them all.
        Those in between move up; a reserve with another timeout is not passed.
        """
        if not self.unwanted or place.command is not RESERVE:
            return False
        assert isinstance(place, Reserve)
        plain: list[Reserve] = []
        for each in reversed(self.written):
            if not isinstance(each, Reserve) or (each.live and each.command is not RESERVE):
                break
            if each.command is RESERVE:
                plain.append(each)
        live = [each.future for each in reversed(plain) if each.live]
        dead = [each.future for each in plain if not each.live]
        if not dead:
            self.unwanted = any(isinstance(e, Reserve) and not e.live for e in self.written)
            return False
        live.append(place.future)
        for each, future in zip(reversed(plain), [*live, *dead[1:]], strict=True):
            each.future = future
        return True

    @property
    def stuck(self) -> bool:
        """Something waits behind reserves that nobody wants, or a job that nobody wants does."""
        if not self.waiting:
            return False
        job_waits = bool(self.held) and returns_job(self.held[0])
        if not (job_waits or self.unwanted):
            return False
        wanted = False
        for place in self.written:
            if not isinstance(place, Reserve) or not place.passes:
                return False  # its reply is on the way
            if place.live:
                if place.waits and not job_waits:
                    return False
                wanted = True
        return wanted or any(not isinstance(place, Reserve) or place.live for place in self.held)


def returns_job(place: Place) -> bool:
    """One of the two commands that return a job, as the end of the connection does too."""
    if isinstance(place, Priority):
        place = place.behind
    return isinstance(place, Own) and place.command is RELEASE
