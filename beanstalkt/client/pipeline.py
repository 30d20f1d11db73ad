"""The FIFO of a connection: the places whose commands were written, and those held behind them.

It does no I/O and keeps no time. A server answers nothing before it has answered a waiting
reserve (protocol section 4.1), so while one waits only further reserves are written; the rest is
held here, in the order of the calls.

A reserve that was cancelled leaves a spare one at the server. The next caller waits for the job
that a spare one may bring, and nothing is written for it. Were it written, each reserve that was
given up after a while would leave one more at the server, and when a job comes at last, its
settling would be held behind them all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from ..job import Job
from ..protocol.commands import RELEASE
from .requests import Own, Place, Priority, Reservation, Reserve

Callers = OrderedDict[Reservation, Reserve]
"""Those that wait for a job, in the order of the calls; each can be taken out at once."""


class Fifo:
    """The places in order.

    :ivar written: the oldest first; the next reply belongs to it
    :ivar held: not written yet
    :ivar waiting: how many of the written ones hold the line
    :ivar callers: who waits for a job, the held ones aside; None as long as each reserve that was
        written has its own caller, which is nearly always so
    """

    def __init__(self) -> None:
        self.written: deque[Place] = deque()
        self.held: deque[Place] = deque()
        self.waiting = 0
        self.callers: Callers | None = None
        self._reserves = 0  # written ones, for whomever; counted while there are `callers`
        self._unasked: Callers = OrderedDict()  # those for whom nothing was written
        self._held_callers: Callers = OrderedDict()
        self._looks = 0  # for a priority, written: these wait too
        self._changes = 0  # of the tubes watched, written
        self._held_changes = 0

    # --- what comes and goes ---

    def wrote(self, place: Place) -> None:
        """Counts a place that is `tracked`, when it is written."""
        self.waiting += place.waits
        if isinstance(place, Reserve):
            if self.callers is not None:
                self._reserves += 1
                self.callers[place.future] = place
        elif place.waits:
            self._looks += 1
        else:
            self._changes += 1

    def answered(self, place: Place) -> None:
        """Counts a place that is `tracked` no longer."""
        self.waiting -= place.waits
        if isinstance(place, Reserve):
            if self.callers is not None:
                self._reserves -= 1
                self.callers.pop(place.future, None)
                if not self._reserves and not self._unasked:
                    self.callers = None
        elif place.waits:
            self._looks -= 1
        else:
            self._changes -= 1

    @property
    def reserving(self) -> bool:
        """A reserve that waits was written."""
        return self.waiting > self._looks

    def _count_callers(self) -> Callers:
        """Goes through all that was written, once until the last of these reserves is answered."""
        if self.callers is None:
            reserves = [each for each in self.written if isinstance(each, Reserve) and each.passes]
            if not reserves:
                return OrderedDict()
            self._reserves = len(reserves)
            self.callers = OrderedDict((each.future, each) for each in reserves if each.live)
        return self.callers

    def hold(self, *places: Place) -> None:
        """Adds commands that are not written yet."""
        self.held.extend(places)
        for place in places:
            if isinstance(place, Reserve):
                if place.passes:
                    self._held_callers[place.future] = place
            elif place.tracked and not place.waits:
                self._held_changes += 1

    def hold_first(self, *places: Place) -> None:
        """Adds commands of the client's own in front of all that is held."""
        self.held.extendleft(reversed(places))

    def released(self) -> Iterator[Place]:
        """Takes out what was held and may be written now: write each before the next."""
        held = self.held
        while held and (not self.waiting or held[0].passes):
            place = held[0]
            if isinstance(place, Reserve):
                self._held_callers.pop(place.future, None)
            elif place.tracked and not place.waits:
                self._held_changes -= 1
            if wanted(place):
                yield place
            # Only now: interrupted in between, it must still be found.
            held.popleft()

    def drop_held(self) -> list[Place]:
        """Takes out what is not written yet, in order."""
        places = list(self.held)
        self.held.clear()
        self._held_callers.clear()
        self._held_changes = 0
        return places

    def clear(self) -> list[Place]:
        """Takes out everything, in order, but the reserves without a caller."""
        places = list(self.written)
        if self.callers is not None:
            places = [each for each in places if not (isinstance(each, Reserve) and each.passes)]
            places += self.callers.values()
            self.callers = None
        places += self.drop_held()
        self.written.clear()
        self._unasked.clear()
        self.waiting = self._looks = self._changes = 0
        return places

    # --- reserves without a caller ---

    def use_spare(self, place: Reserve) -> bool:
        """Has a reserve wait for the job of a spare one, if there is one."""
        if self.callers is None or self._reserves <= len(self.callers):
            return False
        self.callers[place.future] = self._unasked[place.future] = place
        return True

    def to_ask(self) -> Reserve | None:
        """Takes out a reserve that has to be written after all: there is no spare one left."""
        if not self._unasked or (self.callers and self._reserves >= len(self.callers)):
            return None
        if self.held and returns_job(self.held[0]):
            return None  # a job would have to wait behind it
        return self._unasked.popitem(last=False)[1]

    def gave_up(self, future: Reservation) -> None:
        """Forgets the caller of a reserve. What was written for it stays."""
        if future.to_anyone and self._held_callers.pop(future, None) is None:
            self._count_callers().pop(future, None)
            self._unasked.pop(future, None)

    def hand_over(self, job: Job) -> bool:
        """Gives a job without a caller to the next one that waits, if there is one.

        Not to one that may want other tubes.
        """
        if self._changes or not (self.waiting or self.callers):
            return False
        return self._hand_to(self._count_callers(), job) or (
            not self._held_changes and self._hand_to(self._held_callers, job)
        )

    def _hand_to(self, callers: Callers, job: Job) -> bool:
        while callers:
            future, place = callers.popitem(last=False)
            self._unasked.pop(future, None)
            if place.live:
                place.give(job)
                return True
        return False

    @property
    def changes(self) -> bool:
        """A change of the tubes watched is on its way."""
        return self._changes > 0

    @property
    def stuck(self) -> bool:
        """Something waits behind spare reserves, or a job does that has to go back."""
        if not self.waiting:
            return False
        while self.held and isinstance(self.held[0], Reserve) and not self.held[0].live:
            self.held.popleft()
        job_waits = bool(self.held) and returns_job(self.held[0])
        if self.callers is None and not job_waits:
            return False  # the oldest has its caller, or its reply is on the way
        callers = self._count_callers()
        if self._reserves < len(self.written):
            return False  # a reply is on the way
        if job_waits:
            return True
        for future, caller in callers.items():
            # A plain one does as well with a spare reserve as with one of its own.
            return caller.timeout is not None and future in self._unasked
        return bool(self.held)


def wanted(place: Place) -> bool:
    """It still has to be written: not so a reserve that was cancelled, or got another's job,
    nor a command without a line, which turned out to be needless."""
    return place.live if isinstance(place, Reserve) else bool(place.line)


def returns_job(place: Place) -> bool:
    """One of the two commands that return a job, as the end of the connection does too."""
    if isinstance(place, Priority):
        place = place.behind
    return isinstance(place, Own) and place.command is RELEASE
