"""The connection of a blocking client, which is made when it is needed; one call at a time."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ..client.not_copied import NotCopied
from ..client.requests import (
    Holder,
    PeekRequest,
    PriorityLookup,
    Request,
    ReserveRequest,
    reservation_lost,
)
from ..client.sockets import check_ssl_options, reason_of
from ..client.timing import Timing, check_connect_timeout, timing_of
from ..client.tubes import Tubes
from ..errors import BeanstalkException, ConnectionLost, InvalidArgument
from ..job import Job as AnyJob
from ..protocol.address import DEFAULT_PORT, Address, path_of
from ..protocol.commands import PEEK, TOUCH, USE, Command
from .connection import NEVER, Connection, Result, open_connection
from .job import Job
from .lock import CallLock

if TYPE_CHECKING:
    import ssl  # takes long to import, and is needed for TLS alone

    from typing_extensions import Unpack

    from ..client.options import BlockingOptions

log = logging.getLogger("beanstalkt")

ClientT = TypeVar("ClientT", bound="ClientConnection")

IDLE = 0.01
"""Seconds after which a connection is looked at before it is used again."""


def make_reserve(
    command: Command,
    payload: bytes,
    kind: type[ReserveRequest],
    client: ClientConnection,
    holder: Holder,
    timeout: int | None,
    now: float,
) -> ReserveRequest:
    """Return the request of a reserve whose timeout counts from now."""
    result = Result()
    result.holder = holder
    request = kind(command, payload, result, client, timeout)
    request.begin(now)
    return request


class ClientConnection(NotCopied):
    """The connection of a blocking client to its server, and what goes over it.

    The parameters are those of :class:`beanstalkt.blocking.Client`.
    """

    job_type = Job
    """The class of the jobs that it returns."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        connect_timeout: float | None = socket.getdefaulttimeout(),
        *,
        unix_path: str | os.PathLike[str] | None = None,
        ssl_options: ssl.SSLContext | None = None,
        reconnect_delay: float = 1.0,
        max_reconnect_delay: float | None = None,
        response_timeout: float = 60.0,
        timing: Timing | None = None,
    ) -> None:
        connect_timeout = check_connect_timeout(connect_timeout)
        ssl_options = check_ssl_options(ssl_options)
        #: where the server is
        self.address = Address(host, port, path_of(unix_path), ssl_options is not None)
        self._connect_timeout = connect_timeout
        self._ssl_options = ssl_options
        self._timing = timing_of(timing, reconnect_delay, max_reconnect_delay, response_timeout)
        self._tubes = Tubes()
        self._lock = CallLock(self._timing.hold_warning)
        self._connection: Connection | None = None
        self._closing = threading.Event()  # set by close()
        self._once = False  # there has been a connection
        self._reason = "not connected"
        self._on_reconnect: Callable[[], object] | None = None
        _clients.add(self)

    @classmethod
    def from_url(cls: type[ClientT], url: str, **options: Unpack[BlockingOptions]) -> ClientT:
        """Make a client for ``beanstalk://host:port``, ``beanstalks://…`` (TLS), ``unix:///path``.

        The options are those of the constructor. Raises InvalidArgument.
        """
        address = Address.parse(url)
        if address.tls:
            import ssl

            options.setdefault("ssl_options", ssl.create_default_context())
        return cls(address.host, address.port, unix_path=address.path, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{' (closed)' if self.closed() else ''}>"

    # --- the connection ---

    def connect(self) -> None:
        """Connect, trying again until that works or `connect_timeout` is over.

        Raises ConnectionLost when the time is over.
        """
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                self._closing.clear()
                self._connect(self._connect_timeout)
            finally:
                lock.busy = False

    def close(self) -> None:
        """Close the connection; a reserve of another thread fails at once.

        May be called at any time, also twice, and by a signal's handler. A call of another thread
        may take ``timing.close_timeout`` seconds more. :meth:`connect` opens the client again.
        """
        self._closing.set()
        lock = self._lock
        within = lock.mine()  # by a signal's handler: the call that it is in will see to the end
        if within or lock.waiting is not None or not lock.free(self._timing.close_timeout):
            self._interrupt()
        with lock.turn:
            if within:
                pass
            elif self._connection is not None:
                self._connection.close()
            self._reason = "the client was closed"

    def _interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def closed(self) -> bool:
        """Return whether the client has no connection at the moment."""
        connection = self._connection
        return connection is None or connection.ended

    def set_reconnect_callback(self, callback: Callable[[], object] | None) -> None:
        """Have `callback` called, without arguments, when a lost connection is back.

        By then the tubes are restored. It must not call the client. None: no callback. Raises
        InvalidArgument.
        """
        if callback is not None and not callable(callback):
            raise InvalidArgument(f"callback must be a function or None, not {callback!r:.100}")
        self._on_reconnect = callback

    @property
    def connection(self) -> Connection | None:
        """The last connection, for what is built on a client; None: there was none."""
        return self._connection

    @property
    def reason(self) -> str:
        """The reason why the client is not connected, as long as it is not."""
        connection = self._connection
        if connection is not None and connection.ended and connection.reason:
            return connection.reason
        return self._reason

    @property
    def tubes(self) -> Tubes:
        """What each connection is to use and watch, for what is built on a client."""
        return self._tubes

    @property
    def using(self) -> str:
        """The tube that was last asked for with :meth:`use`, and granted."""
        return self._tubes.using

    @property
    def watching(self) -> frozenset[str]:
        """The tubes that reserves take from."""
        return frozenset(self._tubes.watching)

    def __enter__(self: ClientT) -> ClientT:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- how they are sent ---

    def _ask(
        self,
        command: Command,
        payload: bytes,
        job_id: int | None = None,
        origin: object = None,
    ) -> Any:
        """Send a command, and return the value of its reply.

        :param origin: the connection that reserved the job; None: any will do
        """
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                now = monotonic()
                connection = self._connection
                if connection is None or now - connection.used > IDLE:
                    connection = self._ready(command, job_id, origin)
                if origin is not None and origin is not connection.pipeline:
                    raise reservation_lost(command, job_id)
                value, request = connection.ask(command, payload, now)
                if request is not None:
                    return self._outcome(connection, request.result)
                return value
            finally:
                lock.busy = False

    def _call(
        self,
        command: Command,
        request: Request,
        result: Result,
        tube: str | None = None,
        job_id: int | None = None,
        origin: object = None,
    ) -> Any:
        """Send the request that `command` needs, to `tube` if one is given; return its result."""
        if tube is not None:
            USE.encode(tube)  # refused before anything is sent
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                connection = self._ready(command, job_id, origin)
                if origin is not None and origin is not connection.pipeline:
                    raise reservation_lost(command, job_id)
                if tube is None or tube == self._tubes.asked:
                    connection.call(request)
                else:
                    connection.call_in_tube(request, tube, self._tubes.asked)
                return self._outcome(connection, result)
            finally:
                lock.busy = False

    def _ask_in(self, tube: str, command: Command, payload: bytes) -> Any:
        """Send a command to `tube`, and return the value of its reply."""
        result = Result()
        return self._call(command, Request(command, payload, result), result, tube)

    def _peek(self, command: Command, payload: bytes, tube: str | None = None) -> Job:
        looked_into = None if command is PEEK else tube or self._tubes.asked
        result = Result()
        request = PeekRequest(command, payload, result, self, looked_into)
        job: Job = self._call(command, request, result, tube)
        return job

    def _settle(
        self, command: Command, job: int | AnyJob, *values: int, keep_priority: bool = False
    ) -> None:
        job_id: int
        origin: Any = None
        if isinstance(job, AnyJob):
            job_id, origin = job["id"], job.origin
        else:
            job_id = job
        payload = command.encode(job_id, *values) if values else command.encode(job_id)
        keeps = False
        try:
            if keep_priority:
                result = Result()
                lookup = PriorityLookup(job_id, Request(command, payload, result), *values[1:])
                self._call(command, lookup, result, None, job_id, origin)
            else:
                self._ask(command, payload, job_id, origin)
            keeps = command is TOUCH
        finally:
            # Whatever the server refused, it does not hold the job for this connection.
            if not keeps:
                if origin is not None:
                    origin.jobs.discard(job_id)
                elif self._connection is not None:
                    self._connection.pipeline.jobs.discard(job_id)

    def _reserve(
        self,
        kind: type[ReserveRequest],
        command: Command,
        payload: bytes,
        timeout: int | None = None,
    ) -> Job:
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                now = monotonic()
                connection = self._connection
                if connection is None or now - connection.used > IDLE:
                    connection = self._ready(command)
                deadline = 0.0
                if kind.blocks:
                    deadline = math.inf
                    if timeout is not None:
                        deadline = now + timeout + self._timing.response_timeout
                    lock.waiting = command.verb
                holder = connection.pipeline
                value, request = connection.ask(
                    command, payload, now, deadline, make_reserve, kind, self, holder, timeout, now
                )
                if request is not None:
                    connection = self._wait(request, connection, deadline)
                    job: Job = self._outcome(connection, request.result)
                    return job
                job_id, body = value
                client: Any = self
                holder.jobs.add(job_id)
                return self.job_type(job_id, body, client, holder)
            finally:
                lock.waiting = None
                lock.busy = False

    def _wait(
        self, request: ReserveRequest, connection: Connection, deadline: float
    ) -> Connection:
        """Wait at the server, over as many connections as that takes; return the last."""
        while connection.ended and request.wanted:
            self._note(connection)
            if self._closing.is_set():
                request.lost("the client was closed", sent=True)
                break
            connection = self._connect_for(request, connection)
            if request.wanted:
                request.move_to(connection.pipeline, monotonic())
                if self._closing.is_set():
                    connection.close()
                connection.call(request, deadline)
        return connection

    def _connect_for(self, request: ReserveRequest, lost: Connection) -> Connection:
        """Connect again for a reserve that waits; settle it if that fails until its timeout."""
        left = None if request.ends is None else request.ends - monotonic()
        try:
            if left is None or left > 0:
                return self._connect(left)
        except ConnectionLost:
            pass
        if self._closing.is_set():
            request.lost("the client was closed", sent=True)
        else:
            request.expire(f", and the connection was lost: {self._reason}")
        return lost

    def _outcome(self, connection: Connection, result: Any) -> Any:
        if connection.ended:
            self._note(connection)
        if result.error is not None:
            raise result.error
        return result.value

    def _note(self, connection: Connection) -> None:
        """Note why the connection has ended, if it has."""
        if connection.ended and not connection.noted and not self._closing.is_set():
            connection.noted = True
            self._reason = connection.reason
            log.warning(
                "lost the connection to %s: %s; connecting again with the next call",
                self.address,
                connection.reason,
            )

    # --- connecting ---

    def _ready(
        self, command: Command, job_id: int | None = None, origin: object = None
    ) -> Connection:
        """Return a connection that works, as far as that can be told without asking.

        :param origin: the one that reserved the job `job_id`; no other one will do

        Raises ConnectionLost, or ReservationLost.
        """
        connection = self._connection
        if connection is not None and self._works(connection):
            return connection
        if origin is not None:
            raise reservation_lost(command, job_id)
        if self._closing.is_set():
            raise ConnectionLost(
                f"{command.verb}: no connection to {self.address}: the client was closed",
                command=command.verb,
            )
        try:
            return self._open()
        except (OSError, BeanstalkException) as error:
            self._reason = reason_of(error)
            raise ConnectionLost(
                f"{command.verb}: no connection to {self.address}: {self._reason}",
                command=command.verb,
            ) from error

    def _works(self, connection: Connection) -> bool:
        """Return whether the connection seems to work; one that is idle may have ended unseen."""
        if monotonic() - connection.used < IDLE:
            return True
        if connection.ended:
            return False
        if connection.used == NEVER:
            connection.end("a call was interrupted")
        elif not connection.stale():
            return True
        self._note(connection)
        return False

    def _connect_again(self) -> None:
        lock = self._lock
        if lock.busy:
            lock.wait()
        with lock.turn:
            lock.busy = True
            try:
                self._connect(None)
            finally:
                lock.busy = False

    def _connect(self, timeout: float | None) -> Connection:
        """Try to connect until it works or the seconds are over; raise ConnectionLost then."""
        connection = self._connection
        if connection is not None and self._works(connection):
            return connection
        begin = monotonic()
        delays = self._timing.delays()
        next_warning = 0.0
        while True:
            # 0 seconds are one attempt, which may take as long as any.
            left = max(begin + timeout - monotonic(), 1e-3) if timeout else math.inf
            try:
                return self._open(left)
            except (OSError, BeanstalkException) as error:
                self._reason = reason_of(error)
            if self._closing.is_set():
                raise ConnectionLost(f"no connection to {self.address}: the client was closed")
            now = monotonic()
            if timeout is not None and now >= begin + timeout:
                raise ConnectionLost(
                    f"no connection to {self.address} within {timeout:g} s: {self._reason}"
                )
            if now >= next_warning:
                next_warning = now + self._timing.warning_interval
                log.warning("cannot connect to %s: %s; trying again", self.address, self._reason)
            pause = next(delays)
            self._closing.wait(pause if timeout is None else min(pause, begin + timeout - now))

    def _open(self, limit: float = math.inf) -> Connection:
        """Connect once, and use and watch what the last connection did.

        Connecting takes `limit` seconds at the most, and so does each reply to what is replayed.
        """
        limit = min(limit, self._timing.attempt_timeout)
        connection = open_connection(self.address, self._ssl_options, self._timing, limit)
        replay = [
            (command, command.encode(name), Result()) for command, name in self._tubes.replay()
        ]
        if replay:
            try:
                connection.limit(min(limit, self._timing.response_timeout))
                connection.call_unit([Request(*each) for each in replay])
                connection.limit(self._timing.response_timeout)
                for _, _, result in replay:
                    if result.error is not None:
                        raise result.error
            except BaseException as error:
                connection.end(reason_of(error), error)
                raise
        self._tubes.asked = self._tubes.using
        self._connection = connection
        again, self._once = self._once, True
        if again:
            log.info("connected to %s again", self.address)
            if self._on_reconnect is not None:
                try:
                    self._on_reconnect()
                except Exception:
                    log.exception("the reconnect callback failed")
        return connection

    def _forked(self) -> None:
        """Let go, in a child process, of what belongs to its parent."""
        self._lock.renew()
        if self._connection is not None:
            self._connection.forget()
            self._connection = None


_clients: WeakSet[ClientConnection] = WeakSet()


def _renew_clients() -> None:
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_renew_clients)
