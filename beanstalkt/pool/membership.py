"""The servers of a pool: which there are, which of them can be used, and which one is next."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

from ..client.client import Client
from ..errors import InvalidArgument
from ..protocol.servers import Server
from .member import Member
from .routing import Rendezvous, check_strategy, make_turns


class Membership:
    """The servers of a pool, of which some may be away, and some may be leaving.

    :param options: of the clients, as for :class:`~beanstalkt.Client`
    :param on_usable: called with each server that becomes usable
    """

    def __init__(
        self,
        servers: tuple[Server, ...],
        strategy: str,
        options: dict[str, Any],
        on_usable: Callable[[Member], object],
    ) -> None:
        self._strategy = check_strategy(strategy)
        self._options = options
        self._on_usable = on_usable
        #: those that take part, in the order in which they were given
        self.members: list[Member] = []
        #: those that were removed, until their jobs are settled
        self.leaving: list[Member] = []
        self.change(servers)

    def change(self, servers: tuple[Server, ...]) -> tuple[list[Member], list[Member]]:
        """Have these servers take part, and no others; return those that are new, and those gone.

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
                member = Member(server, self.client_of(server), self._on_usable)
                new.append(member)
            members.append(member)
        gone = list(before.values())
        for member in gone:
            member.leaving = True
        self.leaving += gone
        self.members = members
        self._turns = make_turns(self._strategy, members)
        self._rendezvous = Rendezvous(members)
        return new, gone

    def client_of(self, server: Server) -> Client:
        """Make a client of a server, which goes on trying to connect for ever."""
        options = dict(self._options)
        context = options.pop("ssl_options", None)
        if server.address.tls:
            options["ssl_options"] = context or ssl.create_default_context()
        return Client.from_url(server.url, connect_timeout=None, **options)

    def named(self, name: str) -> Member:
        """Return the server with this name; raise InvalidArgument if there is none."""
        for member in (*self.members, *self.leaving):
            if member.server.name == name:
                return member
        names = ", ".join(member.server.name for member in self.members)
        raise InvalidArgument(f"the pool has no server {name!r:.120}; it has {names}")

    @property
    def usable(self) -> list[Member]:
        """The servers that are connected and have answered."""
        return [member for member in self.members if member.usable]

    def to_put_on(self, key: bytes | None, strict: bool) -> Iterator[Member]:
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

    def home_of(self, key: bytes) -> Member:
        """Return the server where jobs with this key belong."""
        return next(self._rendezvous.order(key))
