"""The server: its listening sockets, its clients, and its timer."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tornado.ioloop import IOLoop
from tornado.tcpserver import TCPServer

from ..protocol.address import Address
from .client_socket import ClientSocket
from .engine import DEFAULT_MAX_JOB_SIZE, Engine
from .interpreter import Interpreter
from .session import Session

log = logging.getLogger(__name__)

MAX_JOB_SIZE_LIMIT = 2**30
"""Bytes of the largest `max_job_size`; no beanstalkd accepts larger jobs."""

BACKLOG = 1024
"""Connections to a listening socket that may wait until they are accepted."""

ACCEPTS_PER_TURN = 128
"""Connections that are accepted in one turn of the loop, so that other clients are not delayed."""


class Server(TCPServer):
    """Serve beanstalkd's protocol from memory, for development and tests.

    A server is started like every :class:`~tornado.tcpserver.TCPServer`, on the current loop::

        server = Server()
        server.listen(0, "127.0.0.1")
        host, port = server.address
        ...
        server.stop()

    :param max_job_size: bytes; a put with a larger body is answered JOB_TOO_BIG (section 3.1)
    :param clock: returns the time in seconds, which must never decrease. A test that moves a
        clock of its own calls :meth:`tick` after each move.
    :raises ValueError: `max_job_size` is not from 0 to 1 GiB
    """

    def __init__(
        self, max_job_size: int = DEFAULT_MAX_JOB_SIZE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        if not 0 <= max_job_size <= MAX_JOB_SIZE_LIMIT:
            raise ValueError(
                f"max_job_size must be from 0 to {MAX_JOB_SIZE_LIMIT} bytes, not {max_job_size}"
            )
        self.engine = Engine(max_job_size, clock)
        #: seconds without new connections after the process has run out of file descriptors
        self.accept_retry_delay = 1.0
        self._interpreter = Interpreter(self.engine)
        self._replies_paused = False
        self._loop: IOLoop | None = None
        self._listening: list[socket.socket] = []
        self._client_sockets: dict[Session, ClientSocket] = {}
        #: the timer for the engine's next deadline, and the time of the engine's clock it is for
        self._timer: object = None
        self._timer_deadline: float | None = None
        #: the timer after which new connections are accepted again
        self._accept_timer: object = None

    # --- listening ------------------------------------------------------------------------

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on listening sockets; :meth:`listen` and its like call this."""
        self._loop = IOLoop.current()
        for sock in sockets:
            sock.setblocking(False)
            # With Tornado's backlog of 128, some of many clients that connect at once would have
            # to try again after a second.
            sock.listen(BACKLOG)
            self._listening.append(sock)
            self._loop.add_handler(sock, self._on_connection, IOLoop.READ)

    def listen_unix(self, path: str | Path, mode: int = 0o600) -> None:
        """Listen on a unix socket, and replace one that a server left behind when it ended.

        Raises OSError if the path cannot be used, or if a server listens there (EADDRINUSE).
        """
        self.add_socket(_bind_unix(str(path), mode))

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port of the first TCP socket. Raises RuntimeError if there is none."""
        for sock in self._listening:
            if sock.family != socket.AF_UNIX:
                host, port = sock.getsockname()[:2]
                return host, port
        raise RuntimeError("the server listens on no TCP socket")

    @property
    def url(self) -> str:
        """Return the address of the first socket, TCP or unix, as a client accepts it."""
        if self._listening and self._listening[0].family == socket.AF_UNIX:
            return str(Address(path=os.path.abspath(self._listening[0].getsockname())))
        return str(Address(*self.address))

    def _on_connection(self, listening: socket.socket, events: int) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._stop_accepting(error)
                return
            self._add_client(sock)

    def _add_client(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = self.engine.connect()
        client_socket = ClientSocket(
            self._interpreter, session, sock, self._on_activity, self._forget
        )
        if self._replies_paused:
            client_socket.pause_replies()
        self._client_sockets[session] = client_socket

    def _stop_accepting(self, error: OSError) -> None:
        """Accept no connections for a while after file descriptors have run out.

        Until there are descriptors again, the loop would report the listening sockets as readable
        in each of its turns.
        """
        if self._loop is None or self._accept_timer is not None:
            return
        delay = self.accept_retry_delay
        log.warning("cannot accept connections: %s; trying again in %g s", error, delay)
        for sock in self._listening:
            self._loop.update_handler(sock, 0)
        self._accept_timer = self._loop.call_later(delay, self._start_accepting)

    def _start_accepting(self) -> None:
        self._accept_timer = None
        if self._loop is not None:
            for sock in self._listening:
                self._loop.update_handler(sock, IOLoop.READ)

    # --- running --------------------------------------------------------------------------

    def drain(self) -> None:
        """Refuse new jobs: every put is answered DRAINING from now on (section 8.6)."""
        self.engine.draining = True

    def pause_replies(self) -> None:
        """Keep all replies back until :meth:`resume_replies`; commands are still executed."""
        self._replies_paused = True
        for client_socket in self._client_sockets.values():
            client_socket.pause_replies()

    def resume_replies(self) -> None:
        """Send the replies that were kept back since :meth:`pause_replies`."""
        self._replies_paused = False
        for client_socket in list(self._client_sockets.values()):
            client_socket.resume_replies()
        self._on_activity()

    def tick(self) -> None:
        """Read the clock, and do everything whose time has come.

        The server does this by itself when its clock runs as fast as the system's. A test that
        moves a clock of its own has to call it.
        """
        self._interpreter.tick()
        self._on_activity()

    def _on_activity(self) -> None:
        """Send the replies that the engine has made, and set the timer for its next deadline."""
        unsent = self.engine.unsent
        while unsent:
            client_socket = self._client_sockets.get(unsent.pop())
            if client_socket:
                client_socket.send_replies()
        deadline = self.engine.next_deadline
        if deadline != self._timer_deadline:
            self._stop_timer()
            if deadline is not None and self._loop is not None:
                delay = max(0.0, deadline - self.engine.clock())
                self._timer_deadline = deadline
                self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_deadline = None
        self.tick()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._loop is not None:
            self._loop.remove_timeout(self._timer)
        self._timer = self._timer_deadline = None

    # --- ending ---------------------------------------------------------------------------

    def _forget(self, session: Session) -> None:
        del self._client_sockets[session]

    def drop_connections(self) -> None:
        """Close every connection; the server continues to accept new ones."""
        for client_socket in list(self._client_sockets.values()):
            client_socket.close()
        self._on_activity()

    def stop(self) -> None:
        """Close the listening sockets and every connection, and stop all timers.

        The jobs are gone after that. A second call does nothing.
        """
        super().stop()
        for sock in self._listening:
            if self._loop is not None:
                self._loop.remove_handler(sock)
            _close_listening(sock)
        self._listening.clear()
        self.drop_connections()
        self._stop_timer()
        if self._accept_timer is not None and self._loop is not None:
            self._loop.remove_timeout(self._accept_timer)
            self._accept_timer = None


def _bind_unix(path: str, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        if _is_socket(path):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(path) == 0:
                    raise OSError(errno.EADDRINUSE, "a server listens there already", path)
            os.unlink(path)
        sock.bind(path)
        os.chmod(path, mode)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_socket(path: str) -> bool:
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)


def _close_listening(sock: socket.socket) -> None:
    path = sock.getsockname() if sock.family == socket.AF_UNIX else None
    sock.close()
    if path and _is_socket(path):
        os.unlink(path)
