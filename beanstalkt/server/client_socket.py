"""One client's socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tornado.ioloop import IOLoop

from .session import Session

if TYPE_CHECKING:
    from .listener import Server

READ_SIZE = 64 * 1024

MAX_INPUT = 256 * 1024
"""Bytes that may wait behind a reserve, or behind replies that nobody takes; then the client has
to wait."""


class Peer:
    """Carries bytes between a socket and a session.

    The loop's handlers are used as they are, not an IOStream: that gives up writing as soon as
    the other side ends its half, and then a waiting reserve could not be answered TIMED_OUT
    (section 8.4).
    """

    def __init__(
        self, server: Server, session: Session, sock: socket.socket, loop: IOLoop
    ) -> None:
        self._server = server
        self._session = session
        self._socket = sock
        self._loop = loop
        self._unsent = memoryview(b"")
        self._events = IOLoop.READ
        self._open = True
        loop.add_handler(sock, self._on_events, self._events)

    def close(self) -> None:
        """Close the socket, and tell the server; nothing happens the second time."""
        if self._open:
            self._open = False
            self._loop.remove_handler(self._socket)
            self._socket.close()
            self._server.forget(self._session)

    def flush(self) -> None:
        """Send what there is to send, as far as the socket takes it."""
        session = self._session
        while self._open and not self._server.silent and (self._unsent or session.has_replies):
            if not self._unsent:
                self._unsent = memoryview(session.take())
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self._unsent = self._unsent[sent:]
        if self._open:
            self._choose_events()

    def _choose_events(self) -> None:
        session = self._session
        busy = bool(self._unsent) or session.has_replies
        if session.closing and not busy:
            self.close()
            return
        events = 0
        if not (
            busy or session.stalled or session.half_closed or session.reader.buffered > MAX_INPUT
        ):
            events |= IOLoop.READ
        # A session that has stalled goes on in a turn of its own, when others have had theirs.
        if (busy or session.stalled) and not self._server.silent:
            events |= IOLoop.WRITE
        if events != self._events:
            self._events = events
            self._loop.update_handler(self._socket, events)

    def _on_events(self, _: object, events: int) -> None:
        if events & IOLoop.WRITE:
            self.flush()
            if self._open and self._session.stalled and not self._unsent:
                self._server.engine.resume(self._session)
                self.flush()
        else:
            self._read()
        self._server.settle()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if data:
            self._server.engine.receive(self._session, data)
        else:
            self._server.engine.half_close(self._session)
        self.flush()
