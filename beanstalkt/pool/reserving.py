"""Reserving from several servers: each in turn without waiting, then all of them at once.

While jobs are ready, a reserve costs one command on a connection that all callers share. When all
servers are empty, the caller waits here, and one scout waits at each server; what a scout brings
goes to the caller that has waited longest.

When the last caller is gone, the scouts still wait. For a moment they are left alone, since most
callers come back at once, and what they bring in that time is kept for the next one. Then they
are closed, as only the end of its connection ends a waiting reserve, and what was kept is late: it
is returned to its tube with its own priority.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from random import randrange
from typing import Any

from ..client.client import Client
from ..client.connection import Connection
from ..client.requests import NO_CONNECTION, UNWRITTEN, Holder, ReserveNowRequest
from ..client.reserve_future import ReserveFuture
from ..client.timers import LazyTimer
from ..errors import BeanstalkException, ConnectionLost, TimedOut
from ..protocol.commands import RESERVE_WITH_TIMEOUT
from .job import PoolJob
from .member import PATIENCE, Member
from .membership import unreachable
from .scouts import Scout

RUN = 32
"""Reserves that are asked of one server before the next one has its turn, unless a reply comes
earlier. What many callers ask in one turn of the loop so leaves in one write, and is answered in
one piece; of callers who come one by one, each goes to the next server."""

LINGER = 0.005
"""Seconds for which the scouts wait on when no caller is left."""

PROBE_PAUSE = 0.01
"""Seconds for which a server that had no job is not asked again, as long as others have some."""

ARM_PAUSE = 1.0
"""Seconds until a server that has refused to let a scout wait is tried again."""

_NOW = RESERVE_WITH_TIMEOUT.encode(0)


class AskForJob(ReserveNowRequest):
    """A reserve that does not wait, on one server; then another request asks the next one.

    The pipeline treats it like any other command: only this caller can do with its job, which has
    to become one of the pool.

    :param members: the servers that are asked next, in order; None: those after this one
    :param seconds: the timeout of the caller; None: for ever
    :param asked: when it is asked, on the loop's clock
    """

    __slots__ = ("asked", "member", "members", "passed_on", "reserving", "seconds")

    may_follow_reserve = False
    command = RESERVE_WITH_TIMEOUT
    payload = _NOW
    timeout = 0
    counted = False
    ends = None
    client_keeps_time = False

    def __init__(
        self,
        reserving: Reserving,
        future: ReserveFuture,
        holder: Holder,
        member: Member,
        members: Iterator[Member] | None,
        seconds: int | None,
        asked: float,
    ) -> None:
        # Nothing but what differs from one to the next: one is made for each job.
        self.result = future
        self.position = UNWRITTEN
        self.holder = holder
        self.reserving = reserving
        self.member = member
        self.members = members
        #: the timeout of the caller; None: for ever
        self.seconds = seconds
        #: when it was asked, on the loop's clock
        self.asked = asked
        #: whether the next server was asked without waiting for this one's reply
        self.passed_on = False

    def done(self, value: Any) -> None:
        """Settle the caller's reserve with the job, or give it back if the caller is gone."""
        number, body = value
        holder, reserving, member, result = self.holder, self.reserving, self.member, self.result
        reserving.asking.pop(self, None)
        reserving.left = 0
        member.given += 1
        if member.ask_after:
            reserving.has_jobs(member)
        # What `job_of` does; a call more takes longer.
        job = PoolJob(
            f"{member.server.name}/{number}",
            body,
            reserving.pool,
            reserving,
            member.client,
            number,
            holder,
        )
        if result.done():
            reserving.late += self.passed_on
            holder.give_back(job.inner, False)
        else:
            holder.jobs.add(number)
            result.set_result(job)

    def failed(self, error: BeanstalkException) -> None:
        """Ask the next server: this one has no job, or cannot be asked."""
        self.reserving.asking.pop(self, None)
        self.reserving.left = 0
        self.reserving.had_none(self.member)
        if not self.passed_on and not self.result.done():
            self.pass_on()

    def pass_on(self) -> None:
        """Ask the next server, whether or not this one answers later."""
        self.passed_on = True
        reserving, members = self.reserving, self.members
        if members is None:
            members = reserving.after(self.member, self.seconds)
        reserving.ask(self.result, members, self.seconds)  # type: ignore[arg-type]


class Reserving:
    """The reserves of a pool: callers, the servers that they ask, and the scouts.

    :param make_client: makes a client of a server that watches what the pool watches
    :param pool: what the methods of the jobs go to
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_client: Callable[[Member], Client],
        pool: object,
    ) -> None:
        #: late jobs: those that were given back since nobody waited for them any more
        self.late = 0
        self._loop = loop
        self._make_client = make_client
        #: what the methods of the jobs go to
        self.pool = pool
        self._members: list[Member] = []
        self._scouts: dict[Member, list[Scout]] = {}
        self._turn = 0
        #: how many more reserves go to the server whose turn it is
        self.left = 0
        #: the servers' replies that callers wait for, the oldest first
        self.asking: dict[AskForJob, None] = {}
        self._patient = False  # the timer of those is set
        self._waiting: OrderedDict[ReserveFuture, float | None] = OrderedDict()  # with their ends
        self._kept: deque[PoolJob] = deque()  # brought while nobody waited
        self._closing: set[asyncio.Future[None]] = set()  # connections
        self._patience_timer = LazyTimer(loop, self._pass_on_the_silent)
        self._end_timer = LazyTimer(loop, self._end_waiting)
        self._linger_timer = LazyTimer(loop, self._withdraw)
        self._arm_timer = LazyTimer(loop, self._arm)
        self._next_end = math.inf  # of a timeout
        self._error: ConnectionLost | None = None  # since it was closed
        #: ids of jobs; none is held here, but by connections
        self.jobs: set[int] = set()

    # --- the servers ---

    def set_members(self, members: Sequence[Member]) -> None:
        """Reserve from these servers from now on. Scouts of others are closed once they are free.

        Returns at once.
        """
        self._members = list(members)
        self.left = 0
        # Anywhere: programs that take one job each would all ask the first server first.
        self._turn = randrange(len(members))
        for member in members:
            if member not in self._scouts:
                self._scouts[member] = []
                self.has_jobs(member)  # as far as is known
        for member, scouts in self._scouts.items():
            if member not in members:
                self._close_scouts([scout for scout in scouts if scout.armed or scout.free])
        self.look_for_jobs()

    def renew(self, member: Member) -> None:
        """Have new scouts wait at a server that has a new main connection.

        The connections of the old ones may be dead as well, without having noticed.
        """
        self._close_scouts([scout for scout in self._scouts.get(member, ()) if scout.armed])
        self.has_jobs(member)  # as far as is known
        self.look_for_jobs()

    def look_for_jobs(self) -> None:
        """Let scouts wait at the servers that can be used, if anybody waits."""
        if self._waiting:
            self._arm()

    def busy(self, member: Member, is_needed: Callable[[Client], bool] | None = None) -> bool:
        """Return whether a connection to this server holds a job, or may be about to get one.

        :param is_needed: returns whether somebody still needs a client
        """
        scouts = self._scouts.get(member, ())
        if is_needed is not None and any(
            is_needed(client) for client in (member.client, *(scout.client for scout in scouts))
        ):
            return True
        connection = member.client.connection
        # The reply that is on its way may be a job.
        needed = connection is not None and (bool(connection.jobs) or connection.awaits_replies)
        return needed or any(not scout.free for scout in scouts)

    def forget(self, member: Member) -> None:
        """Close all connections to a server for good."""
        self._close_scouts(self._scouts.pop(member, []))
        self._note_closing(member.client.close())

    def client_of(self, member: Member, number: int) -> Client:
        """Return the client that holds a job of this server, or its main one."""
        for scout in self._scouts.get(member, ()):
            if scout.holds(number):
                return scout.client
        return member.client

    @property
    def clients(self) -> list[Client]:
        """The clients of the scouts."""
        return [scout.client for scouts in self._scouts.values() for scout in scouts]

    def tubes_changed(self) -> None:
        """Close the connections that watch other tubes than the pool does now."""
        for scouts in self._scouts.values():
            for scout in scouts:
                scout.stale = True
            self._close_scouts([scout for scout in scouts if scout.armed or scout.free])
        self._give_back_kept()
        self.look_for_jobs()

    # --- asking ---

    def reserve(self, future: ReserveFuture, seconds: int | None) -> None:
        """Find a job for a caller.

        :param seconds: how long the caller waits; 0: not at all; None: for ever
        """
        if self._kept:
            future.holder = self
            if self._give_kept(future):
                return
        turn, members = self._turn, self._members
        if self.left:
            self.left -= 1
        else:
            self.left = RUN - 1
            turn = self._next_turn()
        member = members[turn]
        connection = member.proof
        if (
            connection is None
            or member.ask_after
            or connection.ended
            or connection.is_silent_for(PATIENCE)
        ):
            self._ask_carefully(future, turn, seconds)
            return
        # What `_ask` does; a call more takes longer.
        future.holder = connection
        now = self._loop.time()
        request = AskForJob(self, future, connection, member, None, seconds, now)
        self.asking[request] = None
        if not self._patient:
            self._be_patient(now)
        connection.send(request)

    def _next_turn(self) -> int:
        """Return the place of the server to ask next: of those with jobs, it has given the fewest.

        Of several such it is the next one. One that had no job a while ago comes first.
        """
        members, now = self._members, self._loop.time()
        turn = place = self._turn
        fewest: float = math.inf
        for _ in members:
            place = place + 1 if place + 1 < len(members) else 0
            member = members[place]
            if member.given < fewest and not member.ask_after:
                if member.prompt:
                    fewest, turn = member.given, place
                else:
                    member.ask_after = now
            elif member.ask_after and self._may_have_one(member, now):
                turn = place
                break
        self._turn = turn
        return turn

    def _may_have_one(self, member: Member, now: float) -> bool:
        """Return whether a server may have a job ready again, after it had none."""
        return member.ask_after <= now and member.prompt and not self._is_watched(member)

    def has_jobs(self, member: Member) -> None:
        """Note that a server has jobs again, and is to give as many as the others from now on."""
        member.ask_after = 0.0
        member.given = max(other.given for other in (member, *self._members))

    def _ask_carefully(self, future: ReserveFuture, turn: int, seconds: int | None) -> None:
        """Ask those servers that may have a job, the one in this place first."""
        future.holder = self
        self.left = 0
        member, now = self._members[turn], self._loop.time()
        if self._may_have_one(member, now):
            member.ask_after = now + PROBE_PAUSE  # one reserve is enough to find out
            self._ask(future, member, None, seconds)
        elif any(member.usable for member in self._members):
            members = self._members[turn:] + self._members[:turn]
            self.ask(future, self._to_ask(members, seconds), seconds)
        else:
            future.set_exception(unreachable("reserve", *self._members))

    def after(self, member: Member, seconds: int | None) -> Iterator[Member]:
        """Return the servers to ask after this one, each other one once."""
        members = self._members
        # It may have been removed since it was asked.
        place = members.index(member) if member in members else len(members)
        return self._to_ask(members[place + 1 :] + members[:place], seconds)

    def _to_ask(self, members: list[Member], seconds: int | None) -> Iterator[Member]:
        """Yield the servers that may have a job ready."""
        now = self._loop.time()
        for member in members:
            if member.leaving:
                continue  # it was removed while the ones before it were asked
            if (seconds == 0 and member.prompt) or self._may_have_one(member, now):
                yield member

    def _is_watched(self, member: Member) -> bool:
        """Return whether a scout waits at a server, which has no job ready then."""
        scouts = self._scouts[member]
        return bool(scouts) and any(scout.armed for scout in scouts)

    def ask(self, future: ReserveFuture, members: Iterator[Member], seconds: int | None) -> None:
        """Ask the next of the servers; wait at all of them if none is left."""
        for member in members:
            self._ask(future, member, members, seconds)
            return
        if seconds == 0:
            self._say_none(future)
        else:
            self._wait(future, seconds)

    def _ask(
        self,
        future: ReserveFuture,
        member: Member,
        members: Iterator[Member] | None,
        seconds: int | None,
    ) -> None:
        connection = member.client.connection
        future.holder = connection
        now = self._loop.time()
        holder = connection or NO_CONNECTION
        request = AskForJob(self, future, holder, member, members, seconds, now)
        if connection is None:
            request.pass_on()
            return
        self.asking[request] = None
        if not self._patient:
            self._be_patient(now)
        connection.send(request)

    def _be_patient(self, now: float) -> None:
        self._patient = True
        self._patience_timer.set(now + PATIENCE)

    def had_none(self, member: Member) -> None:
        """Note that a server had no job ready."""
        member.ask_after = self._loop.time() + PROBE_PAUSE

    def _pass_on_the_silent(self) -> None:
        """Ask others where a server does not answer in time."""
        now = self._loop.time()
        while self.asking:
            request = next(iter(self.asking))
            if request.asked + PATIENCE > now:
                self._patience_timer.set(request.asked + PATIENCE)
                return
            del self.asking[request]
            if not request.result.done():
                request.pass_on()
        self._patient = False

    def _give_kept(self, future: ReserveFuture) -> bool:
        """Give a caller a job that came while nobody waited; return whether there was one."""
        while self._kept:
            job = self._kept.popleft()
            if not self._is_lost(job):
                future.set_result(job)
                return True
        return False

    def _say_none(self, future: ReserveFuture) -> None:
        if self._error is not None or not any(member.usable for member in self._members):
            future.set_exception(self._error or unreachable("reserve", *self._members))
            return
        if self._give_kept(future):
            return  # a scout has brought one meanwhile
        future.set_exception(
            TimedOut(
                "reserve-with-timeout: no server of the pool has a job ready",
                command="reserve-with-timeout",
                status="TIMED_OUT",
            )
        )

    # --- waiting ---

    def _wait(self, future: ReserveFuture, seconds: int | None) -> None:
        future.holder = self
        if self._error is not None:
            future.set_exception(self._error)
            return
        if self._kept and self._give_kept(future):
            return  # a scout has brought one while the servers were asked
        ends = None if seconds is None else self._loop.time() + seconds
        self._waiting[future] = ends
        self._linger_timer.clear()
        if ends is not None and ends < self._next_end:
            self._next_end = ends
            self._end_timer.set(ends)
        self._arm()

    def abandon(self, result: Hashable) -> None:
        """Forget a caller who waits no more."""
        self._waiting.pop(result, None)  # type: ignore[call-overload]
        if not self._waiting:
            self._linger()

    def give_back(self, job: Any, to_anyone: bool) -> None:
        """Hand a job whose caller is gone to the next one, or return it to its tube."""
        if to_anyone and self._hand_over(job):
            return
        job.lease, lease = None, job.lease
        self.late += 1
        job.holder.give_back(job.inner, False)
        if lease is not None:
            lease.end_lease()

    def _hand_over(self, job: PoolJob) -> bool:
        while self._waiting:
            future, _ = self._waiting.popitem(last=False)
            if not future.done():
                future.set_result(job)
                if not self._waiting:
                    self._linger()
                return True
        return False

    def _set_end_timer(self) -> None:
        ends = (end for end in self._waiting.values() if end is not None)
        self._next_end = min(ends, default=math.inf)
        if self._next_end < math.inf:
            self._end_timer.set(self._next_end)

    def _end_waiting(self) -> None:
        """Tell the callers whose timeout is over."""
        now = self._loop.time()
        for future, end in list(self._waiting.items()):
            if end is not None and end <= now:
                del self._waiting[future]
                if not future.done():
                    self._time_out(future)
        self._set_end_timer()
        if not self._waiting:
            self._linger()

    def _time_out(self, future: ReserveFuture) -> None:
        usable = any(member.usable for member in self._members)
        future.set_exception(
            TimedOut(
                "reserve-with-timeout: no job came in time"
                + ("" if usable else ", and no server of the pool can be reached"),
                command="reserve-with-timeout",
                status="TIMED_OUT" if usable else None,
            )
        )

    # --- scouts ---

    def _arm(self) -> None:
        """Have one scout wait at each server."""
        for member in self._members:
            if member.usable and not self._is_watched(member):
                member.ask_after = self._loop.time()  # not as long as somebody waits there
                self._free_scout(member).arm()

    def _free_scout(self, member: Member) -> Scout:
        scouts = self._scouts[member]
        free = [scout for scout in scouts if scout.free]
        # One that was needed for many jobs at a time is closed when they are settled.
        chosen = next((scout for scout in free if not scout.stale), None)
        self._close_scouts([scout for scout in free if scout is not chosen])
        if chosen is None:
            chosen = Scout(
                self._make_client(member),
                lambda scout, *job: self._arrived(member, scout, *job),
                lambda scout: self._gone(member, scout),
                lambda client: member.reconnected(client),
            )
            scouts.append(chosen)
        return chosen

    def _arrived(
        self, member: Member, scout: Scout, number: int, body: bytes, holder: Holder
    ) -> None:
        """Hand a job that a scout has brought to the caller who has waited longest."""
        self.has_jobs(member)
        job = self.job_of(member, scout.client, number, body, holder)
        scout.lend(job)
        if not self._hand_over(job):
            self._kept.append(job)
            self._linger()
        if self._waiting:
            self._arm()

    def _gone(self, member: Member, scout: Scout) -> None:
        self._close_scouts([scout])
        if self._waiting:
            self._arm_timer.set(self._loop.time() + ARM_PAUSE)

    def _linger(self) -> None:
        self._linger_timer.set(self._loop.time() + LINGER)

    def _withdraw(self) -> None:
        """End all waiting reserves at the servers, unless a caller waits for a job again."""
        if self._waiting:
            return
        self._give_back_kept()
        self._close_scouts(
            [scout for scouts in self._scouts.values() for scout in scouts if scout.armed]
        )

    def _give_back_kept(self) -> None:
        kept, self._kept = self._kept, deque()
        for job in kept:
            if not self._is_lost(job):
                self.give_back(job, True)

    @staticmethod
    def _is_lost(job: PoolJob) -> bool:
        return isinstance(job.holder, Connection) and job.holder.ended

    def job_of(
        self, member: Member, client: Client, number: int, body: bytes, holder: Holder
    ) -> PoolJob:
        """Return the pool's job for one that a client of the server has reserved."""
        name = f"{member.server.name}/{number}"
        return PoolJob(name, body, self.pool, self, client, number, holder)

    def _close_scouts(self, gone: Sequence[Scout]) -> None:
        for scouts in self._scouts.values():
            scouts[:] = [scout for scout in scouts if scout not in gone]
        for scout in gone:
            self._note_closing(scout.close())

    def _note_closing(self, closing: asyncio.Future[None]) -> None:
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    # --- the end ---

    def close(self, error: ConnectionLost) -> list[asyncio.Future[None]]:
        """End all that waits with an error; return what closes the connections."""
        for timer in (
            self._patience_timer,
            self._end_timer,
            self._linger_timer,
            self._arm_timer,
        ):
            timer.close()
        self._error = error
        self._members = []
        waiting, self._waiting = self._waiting, OrderedDict()
        self._kept.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._close_scouts([scout for scouts in self._scouts.values() for scout in scouts])
        self._scouts.clear()
        return list(self._closing)
