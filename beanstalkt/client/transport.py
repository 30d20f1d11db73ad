"""The transport: a socket as Tornado streams it, and the ways to open one.

Nothing here knows of commands. What differs from a plain IOStream is the way of the bytes that
come in: they are handed on in the call that reads them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import Resolver, is_valid_ip

from ..protocol.address import Address
from .sockets import NO_HANDSHAKE, NO_HANDSHAKE_HINT, reason_of, tune

T = TypeVar("T")

READ_SIZE = 2**16 + 2**10
"""The number of bytes to read at once: the largest job of a server with default settings and its
line fit into it."""

MAX_READ_SIZE = 2**22
"""The number of bytes to read at once while a longer body is under way. A hostile server may
announce any size, and what is to be read is allocated first."""

RECORD_SIZE = 2**14
"""The number of bytes in the longest record of TLS. A record cannot be read before its end."""


class _Memory(threading.local):
    """The memory that the streams of one thread read to; no bytes stay in it."""

    def __init__(self) -> None:
        self.buffer = bytearray(READ_SIZE)


_memory = _Memory()


class _Handshake(threading.local):
    """Whether this thread takes a step of a handshake now."""

    under_way = False


_handshake = _Handshake()
# Tornado warns of each handshake that fails. Whoever opens the transport hears of that anyway.
logging.getLogger("tornado.general").addFilter(lambda record: not _handshake.under_way)

if TYPE_CHECKING:
    _Base = IOStream
else:
    _Base = object


class _Direct(_Base):
    """A stream that hands on what it reads at once, and counts what the socket has taken."""

    #: bytes that the socket has taken
    handed = 0
    #: bytes to read at once
    read_size = READ_SIZE
    _started = False  # there is somebody to give to what comes
    _receive: Callable[[bytes], None]
    _moved: Callable[[int], None] | None = None

    def start(
        self,
        receive: Callable[[bytes], None],
        closed: Callable[[], None],
        moved: Callable[[int], None] | None = None,
    ) -> None:
        """Give `receive` all that comes; `closed` is called once, on a later turn.

        :param moved: gets the number of bytes when the socket takes some that had to wait
        """
        self._started = True
        self._receive = receive
        self._moved = moved
        self.set_close_callback(closed)
        # The one read of the stream's life. It never gets a byte: read_from_fd keeps them.
        # Its Future fails when the stream is closed, which `closed` tells as well.
        read = self.read_into(_memory.buffer, partial=True)
        assert isinstance(read, asyncio.Future)
        read.add_done_callback(lambda future: future.cancelled() or future.exception())

    def send(self, data: bytes) -> None:
        """Write what the socket takes now, and the rest when it takes more."""
        if not self.closed():
            self.write(data)

    def wake_at(self, count: int) -> None:
        """Report what comes in only once it is so many bytes, where the socket can do that."""

    def read_now(self) -> None:
        """Take in what has come already."""
        if not self.closed():
            self._handle_events(self.fileno(), IOLoop.READ)

    def reason(self) -> str:
        """Return why the stream is closed."""
        return reason_of(self.error) if self.error else "the server closed the connection"

    def _handle_events(self, fd: Any, events: int) -> None:
        try:
            super()._handle_events(fd, events)
        except asyncio.CancelledError:
            # Before Tornado 6.6, a stream that ends raises it if the attempt to connect was
            # cancelled in this turn of the loop.
            if not self.closed():
                raise
        except BaseException as error:
            # A signal's handler has raised in here: bytes may be lost, or go out twice.
            self.close(exc_info=error)
            raise

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._started:
            # Tornado looks by itself whether a stream that has just connected is closed. What has
            # come by then, or the end, is left for `start`.
            return None
        count = super().read_from_fd(buf)
        while count:
            self._receive(bytes(buf[:count]))
            if self.closed() or not self._decrypted():
                return None
            count = super().read_from_fd(buf)
        return count

    def write_to_fd(self, data: memoryview) -> int:
        count = super().write_to_fd(data)
        self.handed += count
        if self._moved is not None:
            self._moved(count)
        return count

    def _decrypted(self) -> int:
        """Return how many bytes the socket has read that no poll will report."""
        return 0


class Transport(_Direct, IOStream):
    """A transport over TCP or a unix socket.

    The methods here are short cuts: without them all works as it does over TLS, only with
    more work for each command.
    """

    _backlog = False  # something may wait to be written

    def send(self, data: bytes) -> None:
        sock = self.socket
        if sock is None:  # closed
            return
        if self._backlog and not self.writing():
            self._backlog = False
        if not self._backlog:
            try:
                count = sock.send(data)
            except BlockingIOError:
                count = 0
            except OSError as error:
                self.io_loop.add_callback(self._break, error)
                return
            self.handed += count
            if count == len(data):
                return
            data = data[count:]
        self._backlog = True
        self.write(data)

    def write_to_fd(self, data: memoryview) -> int:
        try:
            return super().write_to_fd(data)
        except BlockingIOError:
            raise
        except OSError as error:
            self.io_loop.add_callback(self._break, error)
            raise BlockingIOError from error

    def _break(self, error: OSError) -> None:
        """End the stream that cannot be written to, once the replies that came are read."""
        while not self.closed() and self._read():
            pass
        self.close(exc_info=error)

    def wake_at(self, count: int) -> None:
        if not self.closed():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def start(
        self,
        receive: Callable[[bytes], None],
        closed: Callable[[], None],
        moved: Callable[[int], None] | None = None,
    ) -> None:
        super().start(receive, closed, moved)
        if not self.closed():
            # In the place of the reader that IOStream has added for that one read.
            io_loop: Any = self.io_loop
            io_loop.asyncio_loop.add_reader(self.fileno(), self._read)

    def read_now(self) -> None:
        if not self.closed():
            self._read()

    def _read(self) -> bool:
        """Read once; return False if there was nothing, or the stream has ended."""
        try:
            try:
                data = self.socket.recv(self.read_size)
            except BlockingIOError:
                return False
            except OSError as error:
                self.close(exc_info=error)
                return False
            if data:
                self._receive(data)
            else:
                self.close()
        except BaseException as error:
            # A signal's handler has raised in here: what was read may be lost.
            self.close(exc_info=error)
            raise
        return bool(data)


class TLSTransport(_Direct, SSLIOStream):
    """A transport over TLS."""

    _offered = 0  # bytes of a record that did not go out to its end

    def _do_ssl_handshake(self) -> None:
        _handshake.under_way = True
        try:
            super()._do_ssl_handshake()
        finally:
            _handshake.under_way = False

    def write_to_fd(self, data: memoryview) -> int:
        # A record at a time: offered more, OpenSSL may send a part of it and then say that
        # nothing was taken, and commands that the server has carried out would count as unsent.
        # A record that is under way must be offered again as it was, though there is more now.
        self._offered = self._offered or min(len(data), RECORD_SIZE)
        count = super().write_to_fd(data[: self._offered])
        if count:
            self._offered = 0
        return count

    def _decrypted(self) -> int:
        sock: Any = self.socket
        return int(sock.pending())


async def open_transport(
    address: Address,
    ssl_options: ssl.SSLContext | None,
    timeout: float,
    stalled: Callable[[str], None] = lambda reason: None,
) -> Transport | TLSTransport:
    """Connect, trying in turn every address that the name stands for; return the transport.

    Takes `timeout` seconds at the most; raises OSError.

    :param stalled: called with the reason if it is cancelled while the server does not answer
        the TLS handshake
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    targets = await within(timeout, _resolve(address))
    failure: OSError = OSError(f"{address.host} has no address")
    for tried, (family, target) in enumerate(targets):
        # One address that swallows packets must not use up the time of the others.
        share = (deadline - loop.time()) / (len(targets) - tried)
        stream = _stream(address, family, ssl_options)
        try:
            await within(share, _connect(stream, target, address))
            return stream
        except OSError as error:
            failure = error
            if isinstance(error, TimeoutError) and _in_handshake(stream):
                failure = TimeoutError(f"{NO_HANDSHAKE} ({error}): {NO_HANDSHAKE_HINT}")
            _close(stream)
        except BaseException:
            if _in_handshake(stream):
                stalled(f"{NO_HANDSHAKE}: {NO_HANDSHAKE_HINT}")
            _close(stream)
            raise
    raise failure


async def within(timeout: float, step: Coroutine[Any, Any, T]) -> T:
    """Await `step` for up to `timeout` seconds and return its result; raise OSError past them.

    However it ends, `step` has ended by then.

    Not asyncio.wait_for, which until Python 3.12 swallows a cancellation that meets the end of
    the step: whoever tries again after a failure would then go on for ever.
    """
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=timeout)
    except asyncio.CancelledError:
        if task.cancel():
            await asyncio.wait([task])
        else:
            task.exception()  # no caller is left to hear of it
        raise
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait([task])
    raise TimeoutError(f"no answer within {timeout:.3g} s")


async def _resolve(address: Address) -> list[tuple[int, Any]]:
    if address.path is not None:
        return [(socket.AF_UNIX, address.path)]
    if is_valid_ip(address.host):  # needs no thread, as a name does
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        return [(family, target) for family, _, _, _, target in found]
    found_by_name: list[tuple[int, Any]] = await Resolver().resolve(address.host, address.port)
    return found_by_name


def _stream(
    address: Address, family: int, ssl_options: ssl.SSLContext | None
) -> Transport | TLSTransport:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        tune(sock)
    return TLSTransport(sock, ssl_options=ssl_options) if address.tls else Transport(sock)


async def _connect(stream: Transport | TLSTransport, target: Any, address: Address) -> None:
    try:
        await stream.connect(target, server_hostname=address.host if address.tls else None)
    except StreamClosedError as error:
        raise OSError(reason_of(error.real_error or error)) from error


def _close(stream: Transport | TLSTransport) -> None:
    """Close a stream whose attempt to connect has failed or was cancelled."""
    # It looks at its own Future of the handshake, which before Tornado 6.6 raises if cancelled.
    with suppress(asyncio.CancelledError):
        stream.close()


def _in_handshake(stream: Transport | TLSTransport) -> bool:
    """Return whether an attempt that has not ended got as far as the TLS handshake."""
    if not isinstance(stream, TLSTransport) or stream.closed():
        return False
    try:
        stream.socket.getpeername()
    except OSError:  # not even connected
        return False
    return True
