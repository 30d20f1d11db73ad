"""What a blocking pool is connected to: its servers, and the connections to them."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from random import randrange
from types import MappingProxyType, TracebackType
from typing import TypeVar
from weakref import WeakSet

from ..client.not_copied import NotCopied
from ..client.options import BlockingOptions
from ..client.sockets import check_ssl_options
from ..client.timing import Timing, check_connect_timeout, timing_of
from ..errors import ConnectionLost, InvalidArgument
from ..pool.membership import Membership, unreachable
from ..pool.routing import ROUND_ROBIN, check_key
from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.commands import WATCH
from ..protocol.servers import Server, servers_of
from .client import Client
from .member import LONGEST_ABSENCE, Member
from .waiting import Waits

Key = str | bytes
PoolT = TypeVar("PoolT", bound="PoolServers")


class PoolServers(NotCopied):
    """The servers of a blocking pool, and its connections to them.

    The parameters are those of :class:`~beanstalkt.blocking.Pool`.
    """

    def __init__(
        self,
        servers: str | Mapping[str, str] | Iterable[str | Server],
        *,
        strategy: str = ROUND_ROBIN,
        may_double: bool = False,
        connect_timeout: float | None = None,
        ssl_options: ssl.SSLContext | None = None,
        watching: Iterable[str] = (DEFAULT_TUBE,),
        reconnect_delay: float = 1.0,
        max_reconnect_delay: float | None = None,
        response_timeout: float = 60.0,
        timing: Timing | None = None,
    ) -> None:
        self._may_double = may_double
        self._connect_timeout = check_connect_timeout(connect_timeout)
        self._ssl_options = check_ssl_options(ssl_options)
        timing = timing_of(timing, reconnect_delay, max_reconnect_delay, response_timeout)
        self._delay = reconnect_delay
        self._longest_delay = (
            max(reconnect_delay, LONGEST_ABSENCE)
            if max_reconnect_delay is None
            else timing.max_reconnect_delay
        )
        self._options: BlockingOptions = {
            "reconnect_delay": reconnect_delay,
            "response_timeout": response_timeout,
            "timing": timing,
            "connect_timeout": 0,  # one attempt: there are other servers
        }
        self._using = DEFAULT_TUBE
        if isinstance(watching, str):
            raise InvalidArgument("watching must be a list of names of tubes, not one name")
        self._watching = dict.fromkeys(watching, True)
        for name in self._watching:
            WATCH.encode(name)
        if not self._watching:
            raise InvalidArgument("a pool must watch one tube at least")
        self._on_reconnect: Callable[[], object] | None = None
        self._membership = Membership(servers_of(servers), strategy, self._make_member)
        self._turn = randrange(len(self._membership.members))
        self._renew()
        _pools.add(self)

    def _renew(self) -> None:
        """Forget the threads that wait, and what they wait on."""
        self._closing = threading.Event()
        self._lock = threading.Lock()  # of the three below
        self._waits: set[Waits] = set()  # of threads that wait
        self._scouts: dict[Client, Member] = {}  # that wait, have waited, or hold a job
        self._busy: set[Client] = set()  # those of them that wait

    def __repr__(self) -> str:
        servers = " ".join(str(server) for server in self.servers)
        return f"<{type(self).__name__} {servers}{' (closed)' if self.closed() else ''}>"

    def _make_member(self, server: Server) -> Member:
        member = Member(server, self._client_of, self._delay, self._longest_delay)
        member.client.set_reconnect_callback(self._reconnected)
        return member

    def _reconnected(self) -> None:
        if self._on_reconnect is not None:
            self._on_reconnect()

    def _client_of(self, server: Server) -> Client:
        options = self._options.copy()
        if server.address.tls:
            options["ssl_options"] = self._ssl_options or ssl.create_default_context()
        client = Client.from_url(server.url, **options)
        self._set_tubes(client)
        return client

    def _set_tubes(self, client: Client) -> None:
        tubes = client.tubes
        tubes.using = tubes.asked = self._using
        tubes.watching = dict(self._watching)

    # --- the servers ---

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that take part, in the order in which they were given."""
        return tuple(member.server for member in self._membership.members)

    @property
    def usable(self) -> tuple[str, ...]:
        """The names of the servers that are not left out at present."""
        return tuple(member.server.name for member in self._membership.usable)

    @property
    def clients(self) -> Mapping[str, Client]:
        """The client of each server by its name, for what concerns one server only."""
        members = self._membership.members
        return MappingProxyType({member.server.name: member.client for member in members})

    @property
    def connections(self) -> int:
        """How many connections there are, to all servers together."""
        with self._lock:
            clients = list(self._scouts)
        membership = self._membership
        clients += [member.client for member in (*membership.members, *membership.leaving)]
        return sum(not client.closed() for client in clients)

    def url_of(self, name: str) -> str:
        """Return the URL of the server with this name, also of one that leaves."""
        return self._membership.named(name).server.url

    def server_of(self, key: Key) -> str:
        """Return the name of the server where jobs with this key belong."""
        return self._membership.home_of(check_key(key)).server.name

    def set_servers(self, servers: str | Mapping[str, str] | Iterable[str | Server]) -> None:
        """Have these servers take part from now on, and no others.

        A server that is removed gets no more jobs and gives none; those that are held can be
        settled, and its connections are closed by the first call after that. A server with the
        same name and address stays connected; its weight may change. Reserves of other threads
        that wait go on waiting, at the new servers.
        """
        found = servers_of(servers)
        with self._lock:
            self._membership.change(found)
            waits = list(self._waits)
        for each in waits:
            each.wake()
        self._check_leaving()

    def _check_leaving(self) -> None:
        """Close the servers that leave and whose jobs are settled."""
        membership = self._membership
        with self._lock:
            gone = [
                member
                for member in membership.leaving
                if not (member.outstanding or member.asking or self._is_held(member))
            ]
            for member in gone:
                membership.leaving.remove(member)
            scouts = [client for client, member in self._scouts.items() if member in gone]
            for client in scouts:
                del self._scouts[client]
        for client in (*scouts, *(member.client for member in gone)):
            client.close()

    def _is_held(self, member: Member) -> bool:
        """Return whether jobs of this server are held, or about to be."""
        scouts = [client for client, owner in self._scouts.items() if owner is member]
        return any(client in self._busy for client in scouts) or any(
            client.connection is not None
            and not client.connection.ended
            and client.connection.pipeline.jobs
            for client in (member.client, *scouts)
        )

    # --- the connections ---

    def connect(self) -> None:
        """Connect to all servers that can be reached, trying again until there is one.

        Raises ConnectionLost when `connect_timeout` is over.
        """
        self._closing.clear()
        timeout = self._connect_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if [member for member in self._membership.members if self._reach(member)]:
                return
            if self._closing.is_set() or (deadline is not None and time.monotonic() >= deadline):
                raise unreachable("connect", *self._membership.members)
            left = self._delay if deadline is None else deadline - time.monotonic()
            self._closing.wait(max(0.0, min(self._delay, left)))

    def _reach(self, member: Member) -> bool:
        try:
            member.client.connect()
        except ConnectionLost as error:
            member.lost(error)
            return False
        member.answered()
        return True

    def _revive(self) -> None:
        """Try all servers again if none is worth a try: there is nothing else to do.

        Raises ConnectionLost if the pool was closed.
        """
        if self._closing.is_set():
            raise ConnectionLost("the pool was closed")
        membership = self._membership
        if membership.leaving:
            self._check_leaving()
        if not any(member.usable for member in membership.members):
            for member in membership.members:
                member.try_now()

    def close(self) -> None:
        """End all connections; reserves of other threads fail. May be called twice."""
        self._closing.set()
        with self._lock:
            waits = list(self._waits)
            # Threads that wait close what they wait on themselves.
            theirs = {client for wait in waits for client in wait.clients}
            scouts = [client for client in self._scouts if client not in theirs]
            self._scouts.clear()
            self._busy.clear()
            members = [*self._membership.members, *self._membership.leaving]
            self._membership.leaving.clear()
        for wait in waits:
            wait.interrupt()
        for client in (*scouts, *(member.client for member in members)):
            client.close()

    def closed(self) -> bool:
        """Return whether no server of the pool is connected."""
        return all(member.client.closed() for member in self._membership.members)

    def set_reconnect_callback(self, callback: Callable[[], object] | None) -> None:
        """Have `callback` called, without arguments, when a lost server is back; None: nothing.

        It is called by the call that has connected again, which goes on after that. It must not
        call the pool.
        """
        if callback is not None and not callable(callback):
            raise InvalidArgument(f"callback must be a function or None, not {callback!r:.100}")
        self._on_reconnect = callback

    def __enter__(self: PoolT) -> PoolT:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- the connections on which reserves wait ---

    def _scout_of(self, member: Member) -> Client:
        """Return an idle client of this server, on which a reserve can wait."""
        surplus = []
        with self._lock:
            for client, owner in list(self._scouts.items()):
                connection = client.connection
                if client in self._busy:
                    continue
                if connection is None or connection.ended:
                    del self._scouts[client]
                elif owner is member and not connection.pipeline.jobs:
                    if self._is_current(client):
                        self._busy.add(client)
                        break
                    del self._scouts[client]
                    surplus.append(client)
            else:
                client = member.new_client()
                self._scouts[client] = member
                self._busy.add(client)
        for other in surplus:
            other.close()
        return client

    def _is_current(self, client: Client) -> bool:
        """Return whether a client watches what the pool does."""
        return client.watching == self._watching.keys()

    def _settled(self, client: Client) -> None:
        """Close the connection that held a job, unless it is the only one that is free to wait."""
        with self._lock:
            owner = self._scouts.get(client)
            free = [
                other
                for other, member in self._scouts.items()
                if member is owner
                and other not in self._busy
                and other.connection
                and not other.connection.pipeline.jobs
            ]
            surplus = [] if owner is None else free[1:]
            for other in surplus:
                del self._scouts[other]
        for other in surplus:
            other.close()
        if self._membership.leaving:
            self._check_leaving()

    def _forked(self) -> None:
        """Let go, in a child process, of what belongs to threads of its parent."""
        was_closed = self._closing.is_set()
        waits = self._waits
        self._renew()
        if was_closed:
            self._closing.set()
        for wait in waits:
            wait.forget()


_pools: WeakSet[PoolServers] = WeakSet()


def _renew_pools() -> None:
    for pool in list(_pools):
        pool._forked()


os.register_at_fork(after_in_child=_renew_pools)
