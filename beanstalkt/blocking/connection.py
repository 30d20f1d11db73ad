"""A connection of a blocking client: one socket under one pipeline."""

from __future__ import annotations

import math
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..client.pipeline import Pipeline
from ..client.requests import NO_CONNECTION, UNWRITTEN, Holder, PutChunk, Request, ReserveRequest
from ..client.sockets import reason_of, tune
from ..client.timing import Timing
from ..errors import BeanstalkException, ConnectionLost
from ..protocol.address import Address
from ..protocol.commands import QUIT

READ_SIZE = 2**16 + 2**10
"""The number of bytes to read at once: the largest job of a server with default settings and its
line fit into it."""

MAX_READ_SIZE = 2**22
"""The number of bytes to read at once while a longer body is under way."""

UNDER_WAY = 2048
"""Puts of put_many that are written ahead of their replies, at the most."""


class Result:
    """What a caller waits for: a value or an error."""

    __slots__ = ("error", "holder", "settled", "value")

    def __init__(self, holder: Holder | None = None) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.settled = False
        self.holder = holder

    def done(self) -> bool:
        """Return whether it has been settled."""
        return self.settled

    def set_result(self, result: Any, /) -> None:
        """Settle it with the result of the command."""
        self.settled, self.value = True, result

    def set_exception(self, exception: BaseException, /) -> None:
        """Settle it with the error of the command."""
        self.settled, self.error = True, exception


class Connection:
    """A socket that is open, until it ends. It never opens another one by itself.

    Whatever goes wrong in the middle of a call ends it, an exception of a signal's handler
    included: what the server has got is not known then.
    """

    def __init__(self, sock: socket.socket, timing: Timing) -> None:
        #: what is asked, and which reply is whose
        self.pipeline = Pipeline(time.monotonic)
        #: whether it has ended
        self.ended = False
        #: why it ended
        self.reason = ""
        #: when it was last used, on the monotonic clock; 0.0 once it has ended
        self.used = time.monotonic()
        self._busy = False  # a call is under way
        self._handed = 0  # bytes that the socket has taken
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._timing = timing
        limit = timing.response_timeout
        if self._tls:
            sock.settimeout(None if limit == math.inf else limit)
        else:
            sock.settimeout(None)
            # The system keeps the time: a timeout of Python's own costs a poll() at each call.
            seconds = 0.0 if limit == math.inf else max(limit, 1e-3)
            value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, value)

    # --- calls ---

    def call(self, request: Request) -> None:
        """Send a request, and return when all that was sent is answered."""
        if self._busy:
            raise _called_within()
        self._busy = True
        pipeline = self.pipeline
        try:
            payload = pipeline.write(request)
            count = self._sock.send(payload)
            self._handed += count
            if count < len(payload):
                self._send(memoryview(payload)[count:])
            chunk = self._sock.recv(READ_SIZE)
            if chunk:
                pipeline.receive(chunk)
                if not pipeline.in_flight:
                    self.used = time.monotonic()
                    self._busy = False
                    return
            self._finish(chunk)
        except BaseException as error:
            self._fail(error)

    def _finish(self, chunk: bytes) -> None:
        """Read until all that was sent is answered, as it is with the first bytes in general."""
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._flush()
        while self.pipeline.in_flight:
            self._receive()
        self._done()

    def _done(self) -> None:
        self.used = time.monotonic()
        self._busy = False

    def call_in_tube(self, request: Request, tube: str, home: str) -> None:
        """Send a request to another tube than the one in use, come back, and await all replies."""
        self._call_unit(lambda: self.pipeline.send_in_tube(request, tube, home))

    def call_unit(self, requests: Sequence[Request]) -> None:
        """Send requests that nothing may come between, and return when all are answered."""
        self._call_unit(lambda: self.pipeline.send_unit(requests))

    def _call_unit(self, send: Callable[[], bool]) -> None:
        if self._busy:
            raise _called_within()
        self._busy = True
        try:
            send()
            self._flush()
            while self.pipeline.in_flight:
                self._receive()
            self._done()
        except BaseException as error:
            self._fail(error)

    def wait(self, request: ReserveRequest) -> None:
        """Send a reserve that may wait at the server, and return when it is answered.

        A plain reserve has no limit but the keep-alive of the socket. What the request carries
        when the connection ends is left unsettled, for another connection.
        """
        if self._busy:
            raise _called_within()
        self._busy = True
        pipeline = self.pipeline
        deadline = math.inf
        if request.timeout is not None:
            request.begin(time.monotonic())
            deadline = (request.ends or 0.0) + self._timing.response_timeout
        try:
            self._send(pipeline.write(request))
            while pipeline.in_flight:
                self._receive(deadline)
            self._done()
        except BaseException as error:
            self._fail(error, request)

    def put_many(self, next_chunk: Callable[[], PutChunk | None], tube: str, home: str) -> None:
        """Put all chunks, reading the replies to the first while the next are written."""
        if self._busy:
            raise _called_within()
        self._busy = True
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
            self._done()
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
        if self._tls:
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
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLOUT)
        limit = self._timing.response_timeout
        found = poll.poll(None if limit == math.inf else limit * 1000)
        if not found:
            raise TimeoutError(f"the server took no bytes for {limit:g} s")
        if found[0][1] & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._receive()

    # --- bytes ---

    def _send(self, data: bytes | memoryview) -> None:
        sock = self._sock
        try:
            count = sock.send(data)
            self._handed += count
            while count < len(data):
                data = memoryview(data)[count:]
                count = sock.send(data)
                self._handed += count
        except BlockingIOError:
            raise TimeoutError(
                f"the server took no bytes for {self._timing.response_timeout:g} s"
            ) from None

    def _flush(self) -> None:
        if self.pipeline.output:
            self._send(self.pipeline.data_to_send())

    def _receive(self, deadline: float = 0.0) -> None:
        """Read once, settle what is answered, and write what that leads to.

        :param deadline: until when to read again if nothing comes, on the monotonic clock
        """
        pipeline = self.pipeline
        missing = pipeline.missing
        size = READ_SIZE if missing <= READ_SIZE else min(missing, MAX_READ_SIZE)
        while True:
            try:
                chunk = self._sock.recv(size)
                break
            except (BlockingIOError, TimeoutError):
                if time.monotonic() >= deadline:
                    verb = pipeline.in_flight[0].command.verb
                    limit = self._timing.response_timeout
                    raise TimeoutError(f"no reply to {verb} within {limit:g} s") from None
        if not chunk:
            raise ConnectionError("the server closed the connection")
        pipeline.receive(chunk)
        if pipeline.output:
            self._flush()

    def stale(self) -> bool:
        """Return whether the server has closed the connection, or has said what it must not."""
        try:
            if self._tls:
                self._sock.setblocking(False)
                chunk = self._sock.recv(1)
            else:
                chunk = self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, ssl.SSLWantReadError):
            if self._tls:
                limit = self._timing.response_timeout
                self._sock.settimeout(None if limit == math.inf else limit)
            return False
        except OSError as error:
            self.end(reason_of(error), error)
            return True
        self.end(
            f"the server sent {chunk!r} though nothing was asked"
            if chunk
            else "the server closed the connection"
        )
        return True

    # --- the end ---

    def _fail(self, error: BaseException, kept: ReserveRequest | None = None) -> None:
        """End the connection; raise what did not come from the connection itself.

        :param kept: a reserve that is not to be settled
        """
        if isinstance(error, BlockingIOError):
            verb = self.pipeline.in_flight[0].command.verb
            limit = self._timing.response_timeout
            error = TimeoutError(f"no reply to {verb} within {limit:g} s")
        if isinstance(error, OSError):
            self._read_last()
        self.end(_reason(error), error, kept)
        if not isinstance(error, (OSError, BeanstalkException)):
            raise error

    def _read_last(self) -> None:
        """Take in the replies that came before the connection broke."""
        try:
            while self.pipeline.in_flight:
                chunk = self._sock.recv(READ_SIZE, 0 if self._tls else socket.MSG_DONTWAIT)
                if not chunk:
                    return
                self.pipeline.receive(chunk)
        except (OSError, BeanstalkException):
            pass

    def end(
        self,
        reason: str,
        cause: BaseException | None = None,
        kept: ReserveRequest | None = None,
    ) -> None:
        """Close the socket; what still waits fails with ConnectionLost."""
        if self.ended:
            return
        self.ended = True
        self.reason = reason
        self.used = 0.0
        self._sock.close()
        for request in self.pipeline.clear():
            if request is kept and request.wanted:
                kept.result.holder = NO_CONNECTION
            else:
                request.lost(reason, UNWRITTEN < request.position < self._handed, cause)

    def close(self) -> None:
        """Say ``quit`` and close the socket."""
        if not self.ended:
            with suppress(OSError):
                self._send(QUIT)
        self.end("the client was closed")

    def interrupt(self) -> None:
        """Wake the thread that waits for a reply; may be called from any other thread."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Let go of the socket in a child process: the connection is the parent's."""
        self.ended = True
        self.used = 0.0
        self.reason = "the connection belongs to the parent process"
        self._sock.close()


def open_connection(
    address: Address, ssl_options: ssl.SSLContext | None, timing: Timing
) -> Connection:
    """Connect, trying in turn every address that the name stands for.

    Raises OSError. Takes ``timing.attempt_timeout`` seconds at the most, the look-up aside.
    """
    deadline = time.monotonic() + timing.attempt_timeout
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
            return Connection(sock, timing)
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
        sock.settimeout(timeout)
        sock.connect(target)
        if address.tls and ssl_options is not None:
            return ssl_options.wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise
    return sock


def _called_within() -> RuntimeError:
    return RuntimeError(
        "the client was called while one of its own calls is under way in this thread, by a "
        "signal's handler or by the bodies that put_many takes: use a second Client"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionLost):
        return str(error)
    return reason_of(error)
