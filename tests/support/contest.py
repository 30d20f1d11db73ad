"""One sequence of steps, against a real server and ours at once.

The engine of ours, driven without a socket, tells what to expect, and so how long to wait: both
servers must say exactly that on every connection, and nothing more.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import time

from hypothesis import reject

from beanstalkt.server.engine import Engine
from beanstalkt.server.interpreter import Interpreter
from beanstalkt.server.session import Session

from .beanstalkd import Beanstalkd
from .differences import Difference, known, replies
from .embedded import Embedded
from .sequences import AUDIT, CONNECTIONS, Close, Send, Step

Server = Beanstalkd | Embedded

PATIENCE = 5.0  # seconds for a reply that must come

SEEN = 32 * 1024  # bytes; a real server sees no end of a stream behind much more, unread

TOO_SLOW = 0.5  # seconds; in a longer sequence something may have fallen due


class Mismatch(AssertionError):
    """A server did not say what was expected."""


def play(steps: list[Step], servers: list[Server], version: str) -> None:
    """Play the sequence against fresh servers. Raises Mismatch."""
    for attempt in range(3):
        for server in servers:
            server.restart()
        began = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                Contest(servers, known(version), stack).play(steps)
        except Mismatch:
            # The machine had no time for us: what depends on time is tested elsewhere.
            if attempt < 2 and time.monotonic() - began > TOO_SLOW:
                continue
            raise
        return


class Contest:
    """The connections of one sequence."""

    def __init__(
        self, servers: list[Server], rows: tuple[Difference, ...], stack: contextlib.ExitStack
    ) -> None:
        self._servers = servers
        self._rows = rows
        self._stack = stack
        self._engine = Engine()
        self._interpreter = Interpreter(self._engine)
        # Starting a real server costs a connection, which its statistics count.
        self._interpreter.close(self._engine.connect())
        for server in servers:
            if isinstance(server, Embedded):
                server.connect().close()
        self._sessions: list[Session | None] = [None] * (CONNECTIONS + 1)
        self._sockets: list[list[socket.socket]] = [[] for _ in range(CONNECTIONS + 1)]
        self._engine.connect()
        self._controls = [self._connect(server) for server in servers]
        self._expected: dict[int, bytes] = {}
        self._synchronise()

    def play(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Send):
                self._send(step)
            elif isinstance(step, Close):
                self._close(step.connection)
            else:
                self._half_close(step.connection)
        self._send(AUDIT)
        for number in range(CONNECTIONS):
            self._half_close(number)
        self._send(AUDIT)

    # --- steps ----------------------------------------------------------------------------

    def _send(self, step: Send) -> None:
        number = step.connection
        if self._sessions[number] is None:
            self._sessions[number] = self._engine.connect()
            self._sockets[number] = [self._connect(server) for server in self._servers]
        commands = [command for command in step.commands if self._is_fair(command)]
        if self._queued(besides=number):
            # Who goes first is left to chance where one connection wakes another that has more
            # to do: so no command of ours follows at once, and none is queued here too.
            for command in commands:
                session = self._sessions[number]
                if session is None or session.waiting:
                    break
                self._write(number, [command])
            return
        data = b"".join(commands)
        places = [0, *(int(cut * len(data)) for cut in step.cuts), len(data)]
        pieces = [data[a:b] for a, b in itertools.pairwise(places) if a < b]
        self._write(number, pieces)

    def _is_fair(self, command: bytes) -> bool:
        """Whether it is known what a real server says to this."""
        if any(row.lines and row.lines.search(command) for row in self._rows):
            return False
        # As the body it has whatever lay in memory, and whatever stands for the CR LF behind it.
        halves = [s.incoming.id for s in self._sessions if s and s.incoming]
        return not any(re.search(rb"peek +0*%d\r" % half, command) for half in halves)

    def _queued(self, besides: int) -> bool:
        return any(
            session and session.waiting and session.reader.buffered
            for other, session in enumerate(self._sessions)
            if other != besides
        )

    def _write(self, number: int, pieces: list[bytes]) -> None:
        session = self._sessions[number]
        for piece in pieces:
            if session is None or session.closing:
                break
            self._interpreter.receive(session, piece)
            for sock in self._sockets[number]:
                sock.sendall(piece)
            self._compare()

    def _close(self, number: int) -> None:
        session = self._sessions[number]
        if session is None:
            return
        if session.waiting and session.reader.buffered:
            # How much of that is still carried out is left to chance.
            self._half_close(number)
            return
        self._interpreter.close(session)
        self._forget(number)
        self._compare()

    def _half_close(self, number: int) -> None:
        session = self._sessions[number]
        if session is None:
            return
        if session.waiting and session.reader.buffered > SEEN:
            reject()
        for sock in self._sockets[number]:
            sock.shutdown(socket.SHUT_WR)
        self._interpreter.half_close(session)
        self._compare()

    def _forget(self, number: int) -> None:
        for sock in self._sockets[number]:
            sock.close()
        self._sessions[number] = None
        self._sockets[number] = []

    # --- comparing ------------------------------------------------------------------------

    def _compare(self) -> None:
        """Read from all connections what must have come, and see that no more comes."""
        while self._engine.unsent or any(s and s.closing for s in self._sessions):
            self._engine.unsent.clear()
            for number, session in enumerate(self._sessions):
                if session is None:
                    continue
                expected = session.take_replies()
                while session.stalled:
                    self._interpreter.resume(session)
                    expected += session.take_replies()
                if expected or session.closing:
                    unread = session.reader.buffered > 0
                    self._expect(number, expected, session.closing, unread)
                if session.closing:
                    self._interpreter.close(session)
                    self._forget(number)
        self._synchronise()
        sockets = [sock for pair in self._sockets for sock in pair]
        for sock in select.select(sockets, [], [], 0)[0]:
            more = sock.recv(65536)
            raise Mismatch(f"{sock.getpeername()} said more: {more!r:.500}")

    def _expect(self, number: int, stream: bytes, end: bool, unread: bool) -> None:
        for server, sock in zip(self._servers, self._sockets[number], strict=True):
            rows = self._rows if isinstance(server, Beanstalkd) else ()
            expected = replies(stream, rows)
            got = b""
            try:
                while end or len(replies(got)) < len(expected):
                    data = sock.recv(1 << 20)
                    if not data:
                        break
                    got += data
            except ConnectionResetError:
                # What was sent behind a quit resets the connection, and replies may be lost.
                if end and unread:
                    expected = expected[: len(replies(got))]
            except TimeoutError:
                raise Mismatch(
                    f"{server!r}, connection {number} says no more\n{replies(got)}\n{expected}"
                ) from None
            if replies(got) != expected:
                raise Mismatch(f"{server!r}, connection {number}\n{replies(got)}\n{expected}")

    def _synchronise(self) -> None:
        """Wait until the servers have done all that they can.

        A command of no effect, on a connection of its own; more than once, since a server
        takes turns.
        """
        for control in self._controls:
            for _ in range(3):
                control.sendall(b"\r\n")
                if control.recv(100) != b"UNKNOWN_COMMAND\r\n":
                    raise Mismatch("the control connection is out of step")

    def _connect(self, server: Server) -> socket.socket:
        sock = self._stack.enter_context(server.connect())
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
