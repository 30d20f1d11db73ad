"""The servers of a pool: which there are, which of them can be used, and which one is next.

It knows neither an event loop nor a socket, and so serves both kinds of pools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..protocol.servers import Server
from .failover import refuses_jobs
from .routing import Rendezvous, check_strategy, make_turns


class Member(Protocol):
    """A server of a pool of either kind."""

    server: Server
    """name, address and weight"""
    outstanding: int
    """puts under way"""
    leaving: bool
    """it was removed: it gets no new jobs, and gives none"""

    @property
    def usable(self) -> bool:
        """Whether it can be used, as far as is known."""

    @property
    def takes_puts(self) -> bool:
        """Whether a put is to be tried on it before all those of which this is not so."""

    @property
    def reason(self) -> str:
        """Why it cannot be used."""

    def refused(self) -> None:
        """Note that it takes no jobs at present."""


MemberT = TypeVar("MemberT", bound=Member)


class Membership(Generic[MemberT]):
    """The servers of a pool, of which some may be away, and some may be leaving.

    :param make: makes a member of a server
    """

    def __init__(
        self, servers: tuple[Server, ...], strategy: str, make: Callable[[Server], MemberT]
    ) -> None:
        self._strategy = check_strategy(strategy)
        self._make = make
        #: those that take part, in the order in which they were given
        self.members: list[MemberT] = []
        #: those that were removed, until their jobs are settled
        self.leaving: list[MemberT] = []
        self.change(servers)

    def change(self, servers: tuple[Server, ...]) -> list[MemberT]:
        """Have these servers take part, and no others; return those that are new.

        A server with the same name and address stays, whatever its weight.
        """
        before = {member.server.name: member for member in self.members}
        members, new = [], []
        for server in servers:
            member = before.get(server.name)
            if member is not None and member.server.address == server.address:
                del before[server.name]
                member.server = server
            else:
                member = self._make(server)
                new.append(member)
            members.append(member)
        for member in before.values():
            member.leaving = True
            self.leaving.append(member)
        self.members = members
        self._turns = make_turns(self._strategy, members)
        self._rendezvous = Rendezvous(members)
        return new

    def named(self, name: str) -> MemberT:
        """Return the server with this name; raise InvalidArgument if there is none."""
        for member in (*self.members, *self.leaving):
            if member.server.name == name:
                return member
        names = ", ".join(member.server.name for member in self.members)
        raise InvalidArgument(f"the pool has no server {name!r:.120}; it has {names}")

    @property
    def usable(self) -> list[MemberT]:
        """The servers that can be used."""
        return [member for member in self.members if member.usable]

    def in_turn(self) -> MemberT | None:
        """Return the server whose turn it is to get a job; None if it is to be left out."""
        member = self._turns.take()
        return member if member is not None and member.takes_puts else None

    def to_put_on(self, key: bytes | None, strict: bool) -> Iterator[MemberT]:
        """Yield the servers on which to try a put, in order.

        :param key: which decides where the job belongs; None: the strategy does
        :param strict: whether a job with a key goes to no other server than its own
        """
        order = self._turns.order() if key is None else self._rendezvous.order(key)
        if key is not None and strict:
            home = next(order)
            if home.usable:
                yield home
            return
        later = []
        for member in order:
            if member.takes_puts:
                yield member
            else:
                later.append(member)
        # Better a server that is slow, or was full a moment ago, than none.
        yield from (member for member in later if member.usable)

    def home_of(self, key: bytes) -> MemberT:
        """Return the server where jobs with this key belong."""
        return next(self._rendezvous.order(key))

    def no_server(self, key: bytes | None, strict: bool) -> ConnectionLost:
        """Return the error of a put for which `to_put_on` yields no server."""
        if key is not None and strict:
            return unreachable("put", self.home_of(key))
        return unreachable("put", *self.members)


def unreachable(verb: str, *members: Member) -> ConnectionLost:
    """Return the error of a command for which none of these servers can be reached."""
    if len(members) == 1:
        server = members[0].server
        error = ConnectionLost(
            f"{verb}: no connection to server {server.name}, {server.url}: {members[0].reason}",
            command=verb,
        )
        error.server = server.name
        return error
    reasons = "; ".join(f"{member.server.name}: {member.reason}" for member in members)
    return ConnectionLost(f"{verb}: no server of the pool can be reached: {reasons}", command=verb)


def note(error: BeanstalkException, member: Member) -> None:
    """Note whose error this is, and that the server takes no jobs if it says so."""
    name = member.server.name
    error.server = name
    job_id = getattr(error, "job_id", None)
    if isinstance(job_id, int):
        error.job_id = f"{name}/{job_id}"  # type: ignore[attr-defined]  # of Buried
    if error.args:
        error.args = (f"{error.args[0]} (server {name})", *error.args[1:])
    if refuses_jobs(error):
        member.refused()
