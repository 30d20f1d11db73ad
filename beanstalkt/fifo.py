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

from .job import Job
from .place import Own, Place, Priority, Reservation, Reserve
from .protocol import RELEASE

Callers = OrderedDict[Reservation, Reserve]
"""Those that wait for a job, in the order of the calls; each can be taken out at once."""


class Fifo:
    """The places in order.

    :ivar written: the oldest first; the next reply belongs to it
    :ivar held: not written yet
    :ivar waiting: how many of the written ones hold the line
    :ivar reserving: how many of those are reserves
    """

    def __init__(self) -> None:
        self.written: deque[Place] = deque()
        self.held: deque[Place] = deque()
        self.waiting = 0
        self.reserving = 0
        self._reserves = 0  # written ones, for whomever
        self._changes = 0  # of the tubes watched, written
        self._held_changes = 0
        self._callers: Callers = OrderedDict()  # not the held ones
        self._unasked: Callers = OrderedDict()  # those of them for whom nothing was written
        self._held_callers: Callers = OrderedDict()

    # --- what comes and goes ---

    def wrote(self, place: Place) -> None:
        """Counts a place that is `tracked`, when it is written."""
        if isinstance(place, Reserve):
            self._reserves += 1
            self._callers[place.future] = place
            if place.waits:
                self.waiting += 1
                self.reserving += 1
        elif place.waits:
            self.waiting += 1
        else:
            self._changes += 1

    def answered(self, place: Place) -> None:
        """Counts a place that is `tracked` no longer."""
        if isinstance(place, Reserve):
            self._reserves -= 1
            self._callers.pop(place.future, None)
            if place.waits:
                self.waiting -= 1
                self.reserving -= 1
        elif place.waits:
            self.waiting -= 1
        else:
            self._changes -= 1

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
            place = held.popleft()
            if isinstance(place, Reserve):
                self._held_callers.pop(place.future, None)
            elif place.tracked and not place.waits:
                self._held_changes -= 1
            if wanted(place):
                yield place

    def drop_held(self) -> list[Place]:
        """Takes out what is not written yet, in order."""
        places = list(self.held)
        self.held.clear()
        self._held_callers.clear()
        self._held_changes = 0
        return places

    def clear(self) -> list[Place]:
        """Takes out everything that somebody waits for, in order."""
        places = [
            place for place in self.written if not (isinstance(place, Reserve) and place.passes)
        ]
        places += self._callers.values()
        places += self.drop_held()
        self.written.clear()
        self._callers.clear()
        self._unasked.clear()
        self.waiting = self.reserving = self._reserves = self._changes = 0
        return places

    # --- reserves without a caller ---

    def use_spare(self, place: Reserve) -> bool:
        """Has a reserve wait for the job of a spare one, if there is one."""
        if self._reserves <= len(self._callers):
            return False
        self._callers[place.future] = self._unasked[place.future] = place
        return True

    def to_ask(self) -> Reserve | None:
        """Takes out a reserve that has to be written after all: there is no spare one left."""
        if not self._unasked or self._reserves >= len(self._callers):
            return None
        if self.held and returns_job(self.held[0]):
            return None  # a job would have to wait behind it
        return self._unasked.popitem(last=False)[1]

    def gave_up(self, future: Reservation) -> None:
        """Forgets the caller of a reserve. What was written for it stays."""
        self._callers.pop(future, None)
        self._unasked.pop(future, None)
        self._held_callers.pop(future, None)

    def hand_over(self, job: Job) -> bool:
        """Gives a job without a caller to the next one that waits, if there is one.

        Not to one that may want other tubes.
        """
        if self._changes:
            return False
        return self._hand_to(self._callers, job) or (
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
        if not self.waiting or self._reserves < len(self.written):
            return False  # a reply is on the way
        while self.held and isinstance(self.held[0], Reserve) and not self.held[0].live:
            self.held.popleft()
        if self.held and returns_job(self.held[0]):
            return True
        for caller in self._callers.values():
            # Any job will do for a plain one. The timeout of another one does not even begin.
            return caller.timeout is not None and caller is not self.written[0]
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
