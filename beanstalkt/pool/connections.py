"""What a pool is connected to: its servers, the event loop, and their beginning and end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from threading import get_ident
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from tornado.ioloop import IOLoop

from ..client.callbacks import Callback, call, call_when_done, call_with_result, check_callback
from ..client.client import Client, UnknownLoop
from ..client.not_copied import NotCopied
from ..client.options import Options
from ..client.reserve_future import ReserveFuture
from ..client.sockets import check_ssl_options
from ..client.timing import Timing, check_connect_timeout
from ..errors import (
    ConnectionLost,
    InvalidArgument,
)
from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.commands import WATCH
from ..protocol.servers import Server, servers_of
from .member import Member
from .membership import Membership
from .reserving import Reserving
from .routing import ROUND_ROBIN, check_key

Future = asyncio.Future
Body = bytes | bytearray | memoryview | str
Key = str | bytes
PoolT = TypeVar("PoolT", bound="PoolConnections")

CONNECT_GRACE = 1.0
"""Seconds that the first `connect` gives the other servers at the most when one has answered."""

GRACE_CHECK = 0.05
"""Seconds between two looks in that time whether the other servers cannot be reached."""

LEAVE_CHECK = 0.5
"""Seconds between two looks at a server that leaves, while its jobs are settled."""


class PoolConnections(NotCopied):
    """The servers of a pool, its connections to them, and its event loop.

    The parameters are those of :class:`~beanstalkt.Pool`.
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
        self._options: Options = {
            "reconnect_delay": reconnect_delay,
            "max_reconnect_delay": max_reconnect_delay,
            "response_timeout": response_timeout,
            "timing": timing,
            "connect_timeout": None,
        }
        self._using = DEFAULT_TUBE
        if isinstance(watching, str):
            raise InvalidArgument("watching must be a list of names of tubes, not one name")
        self._watching = dict.fromkeys(watching, True)
        for name in self._watching:
            WATCH.encode(name)
        if not self._watching:
            raise InvalidArgument("a pool must watch one tube at least")
        self._on_reconnect: Callback | None = None
        self._membership = Membership(
            servers_of(servers),
            strategy,
            lambda server: Member(server, self._client_of(server), self._became_usable),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: Any = UnknownLoop  # the loop, if it tells the thread that runs it
        self._reserving: Reserving | None = None  # while it is open
        self._waiters: dict[Future[None], asyncio.TimerHandle | None] = {}  # for any server
        self._grace: asyncio.TimerHandle | None = None  # for the others, when one has answered
        self._once = False  # a server has been usable since connect()
        self._check: asyncio.TimerHandle | None = None  # of the servers that leave
        self._closing: Future[None] | None = None
        #: called with a client of a server when it has another connection than before
        self.on_new_connection: Callable[[Client], object] | None = None
        #: returns whether a client is still needed, though its server is to leave
        self.is_needed: Callable[[Client], bool] | None = None

    def __repr__(self) -> str:
        servers = " ".join(str(server) for server in self.servers)
        return f"<{type(self).__name__} {servers}{' (closed)' if self.closed() else ''}>"

    # --- the servers ---

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that take part, in the order in which they were given."""
        return tuple(member.server for member in self._membership.members)

    @property
    def usable(self) -> tuple[str, ...]:
        """The names of the servers that are connected and have answered."""
        return tuple(member.server.name for member in self._membership.usable)

    @property
    def clients(self) -> Mapping[str, Client]:
        """The client of each server by its name, for what concerns one server only.

        Reserves of these clients that wait would hold up the pool's own commands.
        """
        members = self._membership.members
        return MappingProxyType({member.server.name: member.client for member in members})

    @property
    def connections(self) -> int:
        """How many connections there are, to all servers together."""
        membership, reserving = self._membership, self._reserving
        clients = [member.client for member in (*membership.members, *membership.leaving)]
        if reserving is not None:
            clients += reserving.clients
        return sum(client.connection is not None for client in clients)

    @property
    def late(self) -> int:
        """How many jobs were given back because nobody waited for them any more."""
        return 0 if self._reserving is None else self._reserving.late

    def url_of(self, name: str) -> str:
        """Return the URL of the server with this name, also of one that leaves."""
        return self._membership.named(name).server.url

    def server_of(self, key: Key) -> str:
        """Return the name of the server where jobs with this key belong."""
        return self._membership.home_of(check_key(key)).server.name

    def set_servers(self, servers: str | Mapping[str, str] | Iterable[str | Server]) -> None:
        """Have these servers take part from now on, and no others.

        A server that is removed gets no more jobs and gives none; those that are held can be
        settled, and its connections are closed after that. A server with the same name and
        address stays connected; its weight may change. A new one is used once it is connected: if
        all are new, :meth:`connect` waits for the first of them.
        """
        new = self._membership.change(servers_of(servers))
        reserving = self._reserving
        if reserving is None:
            self._membership.leaving.clear()
            return
        for member in new:
            self._open(member)
        reserving.set_members(self._membership.members)
        self._check_leaving()

    def _check_leaving(self) -> None:
        """Close the servers that leave and whose jobs are settled."""
        self._check = None
        membership, reserving = self._membership, self._reserving
        if reserving is None:
            return
        for member in list(membership.leaving):
            if not member.outstanding and not reserving.busy(member, self.is_needed):
                membership.leaving.remove(member)
                reserving.forget(member)
        if membership.leaving:
            self._check = self._running().call_later(LEAVE_CHECK, self._check_leaving)

    # --- the connections ---

    def connect(self, callback: Callback | None = None) -> Future[None]:
        """Connect to all servers; done when one of them can be used, and the others had a chance.

        It goes on trying to reach the others for as long as the pool is open. Raises
        ConnectionLost if none answers within `connect_timeout`.
        """
        check_callback(callback)
        loop = self._bind()
        future: Future[None] = loop.create_future()
        if callback is not None:
            call_when_done(future, callback)
        if self._reserving is None:
            self._start(loop)
        if self._once and self._membership.usable:
            future.set_result(None)
            return future
        timer = None
        if self._connect_timeout is not None:
            timer = loop.call_later(self._connect_timeout, self._give_up, future)
        self._waiters[future] = timer
        future.add_done_callback(self._waited)
        return future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._once = False
        self._reserving = Reserving(loop, self._scout_client, self)
        self._reserving.set_members(self._membership.members)
        for member in self._membership.members:
            self._open(member)

    def _open(self, member: Member) -> None:
        self._set_tubes(member.client)
        member.on_reconnect = self._reconnected
        member.open()

    def _client_of(self, server: Server) -> Client:
        """Make a client of a server, which goes on trying to connect for ever."""
        options = self._options.copy()
        if server.address.tls:
            options["ssl_options"] = self._ssl_options or ssl.create_default_context()
        return Client.from_url(server.url, **options)

    def _scout_client(self, member: Member) -> Client:
        client = self._client_of(member.server)
        self._set_tubes(client, uses=False)
        return client

    def _set_tubes(self, client: Client, uses: bool = True) -> None:
        tubes = client.tubes
        if uses:
            tubes.using = tubes.asked = self._using
        tubes.watching = dict(self._watching)

    def _reconnected(self, client: Client) -> None:
        if self.on_new_connection is not None:
            self.on_new_connection(client)

    def _became_usable(self, member: Member) -> None:
        again, self._once = self._once, True
        if self._reserving is not None:
            self._reserving.renew(member)
        if again and self._on_reconnect is not None:
            call(self._running(), self._on_reconnect)
        if not self._waiters:
            return
        complete = len(self._membership.usable) == len(self._membership.members)
        if complete or (again and self._grace is None):
            self._admit()
        elif self._grace is None:
            self._give_grace(self._running().time() + CONNECT_GRACE)

    def _give_grace(self, ends: float) -> None:
        """Wait for the servers whose first attempt is under way."""
        loop = self._running()
        if loop.time() >= ends or not any(m.first_attempt for m in self._membership.members):
            self._admit()
        else:
            self._grace = loop.call_later(GRACE_CHECK, self._give_grace, ends)

    def _admit(self) -> None:
        """Tell the callers of connect() that a server can be used."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        for future in list(self._waiters):
            if not future.done():
                future.set_result(None)

    def _give_up(self, future: Future[None]) -> None:
        if not self._connect_timeout and any(m.first_attempt for m in self._membership.members):
            # 0 seconds are one attempt at each server, which may take as long as any.
            timer = self._running().call_later(GRACE_CHECK, self._give_up, future)
            self._waiters[future] = timer
        elif not future.done():
            future.set_exception(
                ConnectionLost(
                    f"no connection to any server of the pool within {self._connect_timeout:g} s: "
                    + "; ".join(
                        f"{member.server.name}, {member.server.url}: {member.reason}"
                        for member in self._membership.members
                    )
                )
            )

    def _waited(self, future: Future[None]) -> None:
        """Stop trying if nobody waits for the first server any more."""
        timer = self._waiters.pop(future, None)
        if timer is not None:
            timer.cancel()
        if not self._once and not self._waiters and self._reserving is not None:
            self._shut()

    def close(self, callback: Callback | None = None) -> Future[None]:
        """End all connections, as :meth:`Client.close` does. May be called at any time, and twice.

        What still waits fails with ConnectionLost; jobs that are held go back to their tubes.
        """
        check_callback(callback)
        loop = self._bind()
        closing = self._shut() if self._reserving is not None else self._closing
        if closing is None:
            closing = loop.create_future()
            closing.set_result(None)
        if callback is not None:
            call_when_done(closing, callback)
        return closing

    def _shut(self) -> Future[None]:
        """End everything, and return a Future of the end of the connections."""
        reserving, self._reserving = self._reserving, None
        self._once = False
        for timer in (self._grace, self._check):
            if timer is not None:
                timer.cancel()
        self._grace = self._check = None
        for future in list(self._waiters):
            if not future.done():
                future.set_exception(ConnectionLost("the pool was closed"))
        endings = (
            [] if reserving is None else reserving.close(ConnectionLost("the pool was closed"))
        )
        membership = self._membership
        endings += [member.client.close() for member in (*membership.members, *membership.leaving)]
        membership.leaving.clear()
        ended = asyncio.gather(*endings, return_exceptions=True)
        closing: Future[None] = self._running().create_future()
        ended.add_done_callback(lambda _: _set_done(closing))
        self._closing = closing
        return closing

    def closed(self) -> bool:
        """Return whether no server can be used: not yet, not any more, or not at the moment."""
        return not self._membership.usable

    def set_reconnect_callback(self, callback: Callback | None) -> None:
        """Have `callback` called, without arguments, when a lost server is back; None: nothing."""
        check_callback(callback)
        self._on_reconnect = callback

    async def __aenter__(self: PoolT) -> PoolT:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the event loop ---

    def _future(self, callback: Callback | None) -> Future[Any]:
        if self._runner._thread_id != get_ident():
            self._running()
        future: Future[Any] = Future(loop=self._loop)
        if callback is not None:
            call_with_result(future, callback)
        return future

    def _reserve_future(self, callback: Callback | None) -> ReserveFuture:
        if self._runner._thread_id != get_ident():
            self._running()
        future = ReserveFuture(loop=self._loop)
        future.holder = None
        if callback is not None:
            call_with_result(future, callback)
        return future

    def _bind(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the pool, which is the current one while it is closed."""
        if self._reserving is None:
            io_loop: Any = IOLoop.current()
            loop: asyncio.AbstractEventLoop = io_loop.asyncio_loop
            self._loop = loop
            self._runner = loop if hasattr(loop, "_thread_id") else UnknownLoop
            return loop
        return self._running()

    def _running(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the pool; raise RuntimeError in another loop or thread."""
        loop, running = self._loop, asyncio._get_running_loop()
        if loop is not None and (running is loop or (running is None and not loop.is_running())):
            return loop
        if self._reserving is None:
            return self._bind()
        raise RuntimeError(
            f"{self!r} was called from another event loop or thread than its own, and nothing was "
            "sent: use a pool for each loop"
        )


def _set_done(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
