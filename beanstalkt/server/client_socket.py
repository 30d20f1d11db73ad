"""The socket of one client."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tornado.ioloop import IOLoop

from .interpreter import Interpreter
from .session import Session

READ_SIZE = 64 * 1024
"""Bytes that are read from a socket at a time."""

MAX_INPUT = 256 * 1024
"""Bytes of a client's input that may wait for earlier commands before reading stops."""


class ClientSocket:
    """Pass bytes between the socket of a client and the interpreter of its commands.

    The socket is registered with the loop directly rather than wrapped in an IOStream. An IOStream
    stops writing when the client closes its sending side, so that a waiting reserve could not be
    answered TIMED_OUT then (section 8.4).

    :param on_activity: called after commands were executed, when other clients may have replies
    :param on_close: called once, with the session, after the socket was closed
    """

    def __init__(
        self,
        interpreter: Interpreter,
        session: Session,
        sock: socket.socket,
        on_activity: Callable[[], None],
        on_close: Callable[[Session], None],
    ) -> None:
        self._interpreter = interpreter
        self._session = session
        self._socket = sock
        self._on_activity = on_activity
        self._on_close = on_close
        self._loop = IOLoop.current()
        self._unsent = memoryview(b"")
        self._paused = False
        self._events = IOLoop.READ
        self._open = True
        self._loop.add_handler(sock, self._on_events, self._events)

    def close(self) -> None:
        """Close the socket and the session; a second call does nothing."""
        if self._open:
            self._open = False
            self._loop.remove_handler(self._socket)
            self._socket.close()
            self._interpreter.close(self._session)
            self._on_close(self._session)

    def pause_replies(self) -> None:
        """Keep replies back until :meth:`resume_replies` is called."""
        self._paused = True

    def resume_replies(self) -> None:
        """Send the replies that were kept back."""
        self._paused = False
        self.send_replies()

    def send_replies(self) -> None:
        """Send as many of the session's replies as the socket accepts."""
        session = self._session
        while self._open and not self._paused and (self._unsent or session.has_replies):
            if not self._unsent:
                self._unsent = memoryview(session.take_replies())
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
        unsent = bool(self._unsent) or session.has_replies
        if session.closing and not unsent:
            self.close()
            return
        events = 0
        if not (
            unsent or session.stalled or session.half_closed or session.reader.buffered > MAX_INPUT
        ):
            events |= IOLoop.READ
        # A stalled session continues in a later turn of the loop, after other clients were served.
        if (unsent or session.stalled) and not self._paused:
            events |= IOLoop.WRITE
        if events != self._events:
            self._events = events
            self._loop.update_handler(self._socket, events)

    def _on_events(self, _: object, events: int) -> None:
        if events & IOLoop.WRITE:
            self.send_replies()
            if self._open and self._session.stalled and not self._unsent:
                self._interpreter.resume(self._session)
                self.send_replies()
        else:
            self._read()
        self._on_activity()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if data:
            self._interpreter.receive(self._session, data)
        else:
            self._interpreter.half_close(self._session)
        self.send_replies()
