"""The server's sockets."""

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
from .client_socket import Peer
from .engine import MAX_JOB_SIZE, Engine
from .session import Session

log = logging.getLogger(__name__)

MAX_JOB_SIZE_LIMIT = 2**30
"""Bytes; no beanstalkd takes larger jobs."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""

ACCEPT_PAUSE = 1.0
"""Seconds without new connections after file descriptors have run out."""


class Server(TCPServer):
    """The embedded server: beanstalkd's protocol, jobs in memory. For development and tests.

    Made, then started as every :class:`~tornado.tcpserver.TCPServer`, on the current loop::

        server = Server()
        server.listen(0, "127.0.0.1")
        host, port = server.address
        ...
        server.stop()

    :param max_job_size: bytes; a put of more is answered JOB_TOO_BIG (section 3.1)
    :param clock: gives the time in seconds, and never goes back. A test that has its own calls
        :meth:`tick` whenever it has moved it.
    :raises ValueError: `max_job_size` is not from 0 to 1 GiB
    """

    def __init__(
        self, max_job_size: int = MAX_JOB_SIZE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        if not 0 <= max_job_size <= MAX_JOB_SIZE_LIMIT:
            raise ValueError(f"max_job_size must be from 0 to {MAX_JOB_SIZE_LIMIT}")
        self.engine = Engine(max_job_size, clock)
        #: while set, commands are carried out as ever, and no reply is sent
        self.silent = False
        self._loop: IOLoop | None = None
        self._listening: list[socket.socket] = []
        self._peers: dict[Session, Peer] = {}
        self._timer: object = None
        self._timer_at: float | None = None
        self._accept_again: object = None

    # --- listening ------------------------------------------------------------------------

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on listening sockets, as :meth:`listen` and the like do."""
        self._loop = IOLoop.current()
        for sock in sockets:
            sock.setblocking(False)
            # Tornado's own backlog is short: of many that connect at once, some wait a second.
            sock.listen(BACKLOG)
            self._listening.append(sock)
            self._loop.add_handler(sock, self._on_connection, IOLoop.READ)

    def listen_unix(self, path: str | Path, mode: int = 0o600) -> None:
        """Listen on a unix socket. A socket that an ended server has left there is replaced.

        Raises OSError: the path cannot be used, or a server still listens there (EADDRINUSE).
        """
        self.add_socket(_listen_unix(str(path), mode))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first TCP socket. Raises RuntimeError if there is none."""
        for sock in self._listening:
            if sock.family != socket.AF_UNIX:
                host, port = sock.getsockname()[:2]
                return host, port
        raise RuntimeError("the server listens on no TCP socket")

    @property
    def url(self) -> str:
        """The address as a client takes it; that of the first socket, whatever its kind."""
        if self._listening and self._listening[0].family == socket.AF_UNIX:
            return str(Address(path=os.path.abspath(self._listening[0].getsockname())))
        return str(Address(*self.address))

    def _on_connection(self, listening: socket.socket, events: int) -> None:
        loop = IOLoop.current()
        # Not until there is none: others may wait for their replies.
        for _ in range(128):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._stop_accepting(error)
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = self.engine.connect()
            self._peers[session] = Peer(self, session, sock, loop)

    def _stop_accepting(self, error: OSError) -> None:
        """Out of descriptors. The sockets would be reported as ready at once, again and again."""
        if self._loop is None or self._accept_again is not None:
            return
        log.warning("no new connections for %g s: %s", ACCEPT_PAUSE, error)
        for sock in self._listening:
            self._loop.update_handler(sock, 0)
        self._accept_again = self._loop.call_later(ACCEPT_PAUSE, self._start_accepting)

    def _start_accepting(self) -> None:
        self._accept_again = None
        if self._loop is not None:
            for sock in self._listening:
                self._loop.update_handler(sock, IOLoop.READ)

    # --- running --------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more jobs: every put is answered DRAINING from now on (section 8.6)."""
        self.engine.draining = True

    def pause_replies(self) -> None:
        """Carry out commands as ever, but keep the replies back until :meth:`resume_replies`."""
        self.silent = True

    def resume_replies(self) -> None:
        """Send what was kept back."""
        self.silent = False
        for peer in list(self._peers.values()):
            peer.flush()
        self.settle()

    def tick(self) -> None:
        """Look at the clock, and do what is due. Of use only with a clock of one's own."""
        self.engine.tick()
        self.settle()

    def settle(self) -> None:
        """Send what the engine has to say, and set the timer for what it does next."""
        unsent = self.engine.unsent
        while unsent:
            peer = self._peers.get(unsent.pop())
            if peer:
                peer.flush()
        deadline = self.engine.next_deadline
        if deadline != self._timer_at:
            self._stop_timer()
            if deadline is not None and self._loop is not None:
                delay = max(0.0, deadline - self.engine.clock())
                self._timer_at = deadline
                self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        self.tick()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._loop is not None:
            self._loop.remove_timeout(self._timer)
        self._timer = self._timer_at = None

    # --- ending ---------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """The connection is closed; what it held goes to others."""
        if self._peers.pop(session, None):
            self.engine.close(session)

    def drop_connections(self) -> None:
        """Close every connection; the server goes on."""
        for peer in list(self._peers.values()):
            peer.close()
        self.settle()

    def stop(self) -> None:
        """Stop listening, close every connection, stop every timer. The jobs are gone with it."""
        super().stop()
        for sock in self._listening:
            if self._loop is not None:
                self._loop.remove_handler(sock)
            _close_listening(sock)
        self._listening.clear()
        self.drop_connections()
        self._stop_timer()
        if self._accept_again is not None and self._loop is not None:
            self._loop.remove_timeout(self._accept_again)
            self._accept_again = None


def _listen_unix(path: str, mode: int) -> socket.socket:
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
