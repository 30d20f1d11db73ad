"""A connection of a blocking client: one socket under one pipeline."""

from __future__ import annotations

import _socket
import math
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..client.pipeline import UNANSWERED, Pipeline
from ..client.requests import NO_CONNECTION, UNWRITTEN, Holder, PutChunk, Request, ReserveRequest
from ..client.sockets import NO_HANDSHAKE, NO_HANDSHAKE_HINT, reason_of, tune
from ..client.timing import MOVEMENT, Timing
from ..errors import BeanstalkException, ConnectionLost
from ..protocol.address import Address
from ..protocol.commands import QUIT, Command

if TYPE_CHECKING:
    import ssl  # takes long to import, and is needed for TLS alone

READ_SIZE = 2**16 + 2**10
"""The number of bytes to read at once: the largest job of a server with default settings and its
line fit into it."""

LINE_SIZE = 256
"""The number of bytes to read at once where the reply is nearly always one line."""

MAX_READ_SIZE = 2**22
"""The number of bytes to read at once while a longer body is under way."""

NEVER = -math.inf
"""When a connection was last used that must not be used without a look at it."""

GLANCE = 1e-3
"""Seconds that a read or write waits by itself, which is enough for nearly all of them.

For the rest, poll() waits. Its timeout is not renewed by signals, as that of a read is: the
interpreter begins it anew after each signal, so with enough of them it would never end.
"""

UNDER_WAY = 2048
"""Puts of put_many that are written ahead of their replies, at the most."""


class Result:
    """What a caller waits for: a value or an error."""

    # No __init__, which would be a call for each command.
    #: the result of the command
    value: Any = None
    #: what the caller is to be told instead
    error: BaseException | None = None
    #: the connection that a reserve is on
    holder: Holder | None = None
    #: whether it has been settled
    settled = False

    def done(self) -> bool:
        """Return whether it has been settled."""
        return self.settled

    def set_result(self, result: Any, /) -> None:
        """Settle it with the result of the command."""
        self.settled, self.value = True, result

    def set_exception(self, exception: BaseException, /) -> None:
        """Settle it with the error of the command."""
        self.settled, self.error = True, exception


def make_request(command: Command, payload: bytes) -> Request:
    """Return a request whose reply does nothing but settle its result."""
    return Request(command, payload, Result())


class Connection:
    """A socket that is open, until it ends. It never opens another one by itself.

    Whatever goes wrong in the middle of a call ends it, an exception of a signal's handler
    included: what the server has got is not known then.
    """

    def __init__(self, sock: socket.socket, timing: Timing, tls: bool = False) -> None:
        #: what is asked, and which reply is whose
        self.pipeline = pipeline = Pipeline(time.monotonic)
        self._value_at_once = pipeline.value_at_once
        #: whether it has ended
        self.ended = False
        #: why it ended
        self.reason = ""
        #: whether the client has told that it ended
        self.noted = False
        #: when it was last used, on the monotonic clock; NEVER during a call and after its end
        self.used = time.monotonic()
        self._handed = 0  # bytes that the socket has taken
        self._moved = 0  # bytes of the reply under way, since it was last given more time
        self._sock = sock
        self._tls = tls
        # Not by the system. A socket that gevent or eventlet has put in the place of the system's
        # own waits in a loop of theirs, which knows of its timeout alone.
        self._timed_by_python = tls or not isinstance(sock, _socket.socket)
        self._timing = timing
        self._interrupted = False  # by close()
        self.limit(timing.response_timeout)
        if not self._timed_by_python:
            sock.settimeout(None)
            # The system keeps the time: a timeout of Python's own costs a poll() at each call.
            value = struct.pack("@ll", 0, int(GLANCE * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, value)

    def limit(self, seconds: float) -> None:
        """Let the server take so many seconds for a reply from now on; infinite: no limit."""
        self._limit = seconds
        if self._timed_by_python:
            self._sock.settimeout(None if seconds == math.inf else seconds)

    # --- calls ---

    def ask(
        self,
        command: Command,
        payload: bytes,
        now: float,
        deadline: float = 0.0,
        make: Callable[..., Request] = make_request,
        *details: object,
    ) -> tuple[Any, Any]:
        """Send a command, and return the value of its reply, and None.

        Nearly always the reply comes at once, as a whole, and is a success: then neither a request
        nor a place in the pipeline is needed. Otherwise a request is made, sees to the rest as
        with `call`, and is returned instead of a value.

        :param now: the time on the monotonic clock
        :param deadline: see `call`
        :param make: makes the request of the command, the payload and the details
        """
        self.used = NEVER
        request = chunk = None
        count = 0
        try:
            try:
                count = self._sock.send(payload)
            except BlockingIOError:
                count = 0
            if count == len(payload):
                try:
                    # What is to be read is allocated first, and most replies are a short line.
                    chunk = self._sock.recv(READ_SIZE if command.with_data else LINE_SIZE)
                except OSError as error:
                    chunk = self._read_later(error, READ_SIZE, deadline)
                value = self._value_at_once(command, chunk)
                if value is not UNANSWERED:
                    self.used = now
                    return value, None
            request = self._begun(make(command, payload, *details), count)
            if chunk is None:
                self._send(memoryview(payload)[count:])
                chunk = self._read(deadline)
            self._take(chunk)
            self._finish()
        except BaseException as error:
            if request is None:
                request = self._begun(make(command, payload, *details), count)
            self._fail(error)
        return None, request

    def _begun(self, request: Request, count: int) -> Request:
        """Put a request in flight of which so many bytes were sent already."""
        self.pipeline.write(request)
        self._handed += count
        return request

    def call(self, request: Request, deadline: float = 0.0) -> None:
        """Send a request, and return when all that was sent is answered.

        A reserve that waits at the server is left unsettled when the connection ends, for another
        connection.

        :param deadline: until when to wait for the reply, however long response_timeout is, on the
            monotonic clock
        """
        self.used = NEVER
        try:
            self._send(self.pipeline.write(request))
            self._take(self._read(deadline))
            self._finish()
        except BaseException as error:
            self._fail(error)

    def begin(self, request: Request) -> None:
        """Send a request whose reply :meth:`take_in` reads, once there is something to read."""
        self.used = NEVER
        try:
            self._send(self.pipeline.write(request))
        except BaseException as error:
            self._fail(error)

    def take_in(self) -> None:
        """Read what there is, without waiting for more, until all that was sent is answered."""
        timeout = self._sock.gettimeout()
        try:
            self._sock.setblocking(False)
            try:
                while self.pipeline.in_flight:
                    chunk = self._sock.recv(READ_SIZE)
                    if not chunk:
                        raise ConnectionError("the server closed the connection")
                    self.pipeline.receive(chunk)
            finally:
                self._sock.settimeout(timeout)
            self.used = time.monotonic()
        except BaseException as error:
            if not self._nothing_there(error):
                self._fail(error)

    def fileno(self) -> int:
        """Return the descriptor of the socket, for a selector."""
        return self._sock.fileno()

    def call_in_tube(self, request: Request, tube: str, home: str) -> None:
        """Send a request to another tube than the one in use, come back, and await all replies."""
        self._call_unit(lambda: self.pipeline.send_in_tube(request, tube, home))

    def call_unit(self, requests: Sequence[Request]) -> None:
        """Send requests that nothing may come between, and return when all are answered."""
        self._call_unit(lambda: self.pipeline.send_unit(requests))

    def _call_unit(self, send: Callable[[], bool]) -> None:
        self.used = NEVER
        try:
            send()
            self._flush()
            self._finish()
        except BaseException as error:
            self._fail(error)

    def put_many(self, next_chunk: Callable[[], PutChunk | None], tube: str, home: str) -> None:
        """Put all chunks, reading the replies to the first while the next are written."""
        self.used = NEVER
        there = tube != home
        try:
            more = True
            while more or self.pipeline.in_flight:
                due = sum(request.missing for request in self.pipeline.in_flight)
                if more and due < UNDER_WAY:
                    chunk = next_chunk()
                    more = chunk is not None
                    if chunk is not None:
                        if there:
                            self.pipeline.send_in_tube(chunk, tube, home)
                        else:
                            self.pipeline.send(chunk)
                        self._pump()
                else:
                    self._read_bulk()
            self.used = time.monotonic()
        except BaseException as error:
            self._fail(error)

    def _read_bulk(self) -> None:
        """Read many replies at once: a server that wakes its client for each slows both down."""
        if self.pipeline.in_flight[0].missing > 1:
            time.sleep(self._timing.pace)
        self._receive()

    def _pump(self) -> None:
        """Write all output, and read meanwhile: a server that is not read from stops reading."""
        data = memoryview(self.pipeline.data_to_send())
        if self._timed_by_python:
            self._send(data)
            return
        while data:
            try:
                count = self._sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_until_writable()
                continue
            self._handed += count
            data = data[count:]

    def _wait_until_writable(self) -> None:
        found = self._poll(select.POLLIN | select.POLLOUT, self._latest())
        if found & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._receive()

    # --- bytes ---

    def _send(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            try:
                count = self._sock.send(view)
            except BlockingIOError:
                self._poll(select.POLLOUT, self._latest())
                continue
            self._handed += count
            view = view[count:]

    def _flush(self) -> None:
        if self.pipeline.output:
            self._send(self.pipeline.data_to_send())

    def _finish(self) -> None:
        """Read until all that was sent is answered."""
        while self.pipeline.in_flight:
            self._receive()
        self.used = time.monotonic()

    def _receive(self) -> None:
        missing = self.pipeline.missing
        size = READ_SIZE if missing <= READ_SIZE else min(missing, MAX_READ_SIZE)
        self._take(self._read(size=size))

    def _take(self, chunk: bytes) -> None:
        """Settle what is answered by what was read, and write what that leads to."""
        if self.pipeline.receive(chunk):
            self._moved = 0
        else:
            self._note_progress(chunk)
        self._flush()

    def _read(self, deadline: float = 0.0, size: int = READ_SIZE) -> bytes:
        """Read once, waiting for response_timeout, or until the deadline where that is later."""
        try:
            return self._sock.recv(size)
        except OSError as error:
            return self._read_later(error, size, deadline)

    def _read_later(self, error: OSError, size: int, deadline: float) -> bytes:
        """Go on with a read that has ended with an error; raise that if it may not go on."""
        latest = self._latest(deadline)
        while True:
            if not _timed_out(error):
                raise error
            if not self._timed_by_python:
                self._poll(select.POLLIN, latest)
            elif time.monotonic() >= deadline:  # that was response_timeout
                raise error
            try:
                return self._sock.recv(size)
            except OSError as another:
                error = another

    def _latest(self, deadline: float = 0.0) -> float:
        """Return until when to wait for the peer that begins to wait now."""
        return max(time.monotonic() + self._limit, deadline)

    def _poll(self, events: int, latest: float) -> int:
        """Wait for events of the socket, and return them; raise TimeoutError when it is too late.

        Signals do not prolong it. It may return 0 before that.
        """
        poll = select.poll()
        poll.register(self._sock, events)
        left = max(latest - time.monotonic(), 0.0)
        found = poll.poll(None if left == math.inf else math.ceil(min(left * 1000, 2**31 - 1)))
        if found:
            return found[0][1]
        if time.monotonic() >= latest:
            raise TimeoutError
        return 0

    def _note_progress(self, chunk: bytes) -> None:
        """Give a long reply more time as its bytes come; raise OSError if they hardly do."""
        if not chunk:
            raise ConnectionError("the server closed the connection")
        now = time.monotonic()
        if not self._moved or self._moved >= MOVEMENT:
            self._moved = 0
            self.pipeline.quiet_since = now
        elif now > self.pipeline.quiet_since + self._limit:
            raise TimeoutError
        self._moved += len(chunk)

    def stale(self) -> bool:
        """Return whether the server has closed the connection, or has said what it must not."""
        try:
            if self._timed_by_python:
                chunk = self._read_unasked()
            else:
                chunk = self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as error:
            if self._nothing_there(error):
                return False
            self.end(reason_of(error), error)
            return True
        self.end(
            f"the server sent {chunk!r} though nothing was asked"
            if chunk
            else "the server closed the connection"
        )
        return True

    def _read_unasked(self) -> bytes:
        """Read a byte that nobody waits for; raise OSError if there is none.

        Over TLS, it takes in what TLS says by itself, such as session tickets.
        """
        timeout = self._sock.gettimeout()
        self._sock.setblocking(False)
        try:
            return self._sock.recv(1)
        finally:
            self._sock.settimeout(timeout)

    def _nothing_there(self, error: BaseException) -> bool:
        """Return whether this says only that there is nothing to read yet."""
        if not self._tls:
            return isinstance(error, BlockingIOError)
        from ssl import SSLWantReadError

        return isinstance(error, (BlockingIOError, SSLWantReadError))

    # --- the end ---

    def _fail(self, error: BaseException) -> None:
        """End the connection; raise what did not come from the connection itself."""
        if isinstance(error, OSError):
            if _timed_out(error):
                error = self._late()
            self._read_last()
        self.end("the client was closed" if self._interrupted else _reason(error), error)
        if not isinstance(error, (OSError, BeanstalkException)):
            raise error

    def _late(self) -> TimeoutError:
        limit = f"within {self._limit:g} s"
        if not self.pipeline.in_flight:
            return TimeoutError(f"no reply {limit}")
        return TimeoutError(f"no reply to {self.pipeline.in_flight[0].command.verb} {limit}")

    def _read_last(self) -> None:
        """Take in the replies that came before the connection broke, and wait for no other."""
        try:
            self._sock.setblocking(False)
            while self.pipeline.in_flight:
                chunk = self._sock.recv(READ_SIZE)
                if not chunk:
                    return
                self.pipeline.receive(chunk)
        except (OSError, BeanstalkException):
            pass

    def end(self, reason: str, cause: BaseException | None = None) -> None:
        """Close the socket; what still waits fails with ConnectionLost, but for a reserve."""
        if not self.ended:
            self.used = NEVER
            self._sock.close()
            self.reason = reason
            self.ended = True
        for request in self.pipeline.clear():
            if isinstance(request, ReserveRequest) and request.blocks and request.wanted:
                request.result.holder = NO_CONNECTION
            else:
                request.lost(self.reason, UNWRITTEN < request.position < self._handed, cause)

    def close(self) -> None:
        """Say ``quit`` and close the socket."""
        if not self.ended:
            with suppress(OSError):
                self._send(QUIT)
        self.end("the client was closed")

    def interrupt(self) -> None:
        """Wake the thread that waits for a reply; may be called from any other thread."""
        self._interrupted = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Let go of the socket in a child process: the connection is the parent's."""
        self.used = NEVER
        self.reason = "the connection belongs to the parent process"
        self.ended = True
        self._sock.close()


def open_connection(
    address: Address, ssl_options: ssl.SSLContext | None, timing: Timing, limit: float
) -> Connection:
    """Connect within `limit` seconds, trying in turn every address that the name stands for.

    Raises OSError. The look-up of the name may take longer.
    """
    deadline = time.monotonic() + limit
    targets = _resolve(address)
    failure: OSError = OSError(f"{address.host} has no address")
    for tried, (family, target) in enumerate(targets):
        # One address that swallows packets must not use up the time of the others.
        share = (deadline - time.monotonic()) / (len(targets) - tried)
        try:
            sock = _connect(address, family, target, ssl_options, max(share, 1e-3))
        except TimeoutError:
            failure = OSError(f"no answer within {share:.3g} s")
        except OSError as error:
            failure = OSError(reason_of(error))
        else:
            return Connection(sock, timing, address.tls)
    raise failure


def _resolve(address: Address) -> list[tuple[int, Any]]:
    if address.path is not None:
        return [(socket.AF_UNIX, address.path)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, target) for family, _, _, _, target in found]


def _connect(
    address: Address,
    family: int,
    target: Any,
    ssl_options: ssl.SSLContext | None,
    timeout: float,
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            tune(sock)
        deadline = time.monotonic() + timeout
        sock.settimeout(timeout)
        sock.connect(target)
        if address.tls and ssl_options is not None:
            sock.settimeout(max(deadline - time.monotonic(), 1e-3))
            try:
                return ssl_options.wrap_socket(sock, server_hostname=address.host)
            except TimeoutError:
                raise OSError(f"{NO_HANDSHAKE}: {NO_HANDSHAKE_HINT}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _timed_out(error: OSError) -> bool:
    """Return whether this says that response_timeout is over: not that the peer is gone."""
    return isinstance(error, BlockingIOError) or (
        isinstance(error, TimeoutError) and error.errno is None
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionLost):
        return str(error)
    return reason_of(error)
