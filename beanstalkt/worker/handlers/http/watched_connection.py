"""Watches kept connections, so that no request gets the response to another. Needs aiohttp.

In HTTP/1.1 only their order tells which response belongs to which request: after a surplus one,
each request would get the response to the request before. So a connection is used again only if
its last response ended exactly where it should have, and nothing has come since then.
"""

from __future__ import annotations

import asyncio
import logging
import re
import select
import time
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

REST_DELAY = 0.001
"""Seconds between a response and the next request, in which a surplus response may come."""

MAX_REQUESTS = 100
"""Requests on one connection at most. A surplus response that comes after the next request was
sent looks like the response to that; this limits how many requests it can mislead."""

MAX_AGE = 5.0
"""Seconds after which a connection is not used again, which limits that as well."""

MAX_HEAD = 16 * 1024
"""Bytes in which the headers of a response must end for the connection to be kept."""

log = logging.getLogger("beanstalkt.worker")

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_BLANK_LINE = b"\r\n\r\n"


class Stale(aiohttp.ClientConnectionError):
    """Report that a kept connection cannot be used again. Nothing was sent on it."""


class WatchedConnector(aiohttp.TCPConnector):
    """Make and keep connections, each with its :class:`Watch`."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for this request on which no byte has come. Raises Stale."""
        connection = await super().connect(req, traces, timeout)
        try:
            watch = Watch.of(connection)
            connection.add_callback(watch.end)
            await watch.rest()
            watch.check()
        except BaseException:
            connection.close()
            raise
        return connection


class WatchedRequest(aiohttp.ClientRequest):
    """A request that is written only if no byte has come on its connection before."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request; its body may follow in a task. Raises Stale."""
        if not self.body:  # otherwise write_bytes calls it
            Watch.of(conn).begin()
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write the headers, which aiohttp has kept back, and the body in one write."""
        try:
            Watch.of(conn).begin()
        except aiohttp.ClientConnectionError as error:
            # This may be a task of its own: hand the error to the task that reads the response.
            if conn.protocol is not None:
                conn.protocol.set_exception(error)
            return
        await super().write_bytes(writer, conn, content_length)


class Watch(asyncio.Protocol):
    """Stand between a transport and aiohttp's protocol, and note which bytes come when.

    :param connection: a new connection with its transport
    """

    def __init__(self, connection: Connection) -> None:
        if connection.transport is None or connection.protocol is None:
            raise aiohttp.ClientConnectionError("the server closed the connection at once")
        self._transport = connection.transport
        self._protocol = connection.protocol
        self._made = time.monotonic()
        self._ended = 0.0  # when the last response had come
        self._requests = 0
        self._under_way = False
        # Of the present response:
        self._size = 0  # bytes that have come
        self._length: int | None = 0  # its length in bytes; -1: unknown; None: not yet known
        self._head = b""  # its beginning, until the length is known
        self._last = b""  # the last four bytes that have come
        # Before the first request over TLS, the rest of the handshake may be unread.
        self._ignore_unread = self._transport.get_extra_info("sslcontext") is not None
        self._unread = select.poll()
        self._unread.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._transport.set_protocol(self)

    @classmethod
    def of(cls, connection: Connection) -> Watch:
        """Return the watch of a connection; a new connection gets one."""
        transport = connection.transport
        found = None if transport is None else transport.get_protocol()
        return found if isinstance(found, Watch) else cls(connection)

    async def rest(self) -> None:
        """Wait until a surplus response after the last one would have come."""
        if self._requests and (left := self._ended + REST_DELAY - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def check(self) -> None:
        """Raise Stale if the connection cannot be used; ClientConnectionError if it is new."""
        if self._protocol.should_close or self._transport.is_closing():
            self._refuse()

    def begin(self) -> None:
        """Begin a request: the bytes that come from now on are its response.

        Raises what :meth:`check` raises, also if the system holds bytes, or the end of the
        connection, that were not read yet.
        """
        self.check()
        if not self._ignore_unread and self._unread.poll(0):
            self._refuse()
        self._ignore_unread = False
        self._requests += 1
        self._under_way = True
        self._size = 0
        self._length = None
        self._head = self._last = b""

    def _refuse(self) -> NoReturn:
        if self._requests:
            raise Stale("the connection was closed, or something came on it, before its use")
        raise aiohttp.ClientConnectionError(
            "the server closed the connection, or sent something, before the request"
        )

    def end(self) -> None:
        """End a request, when its connection is about to be kept or closed."""
        self._under_way = False
        # After a blank line at the end, no part of a next message has come. Whole ones are
        # noticed by aiohttp.
        whole = self._size == self._length or self._last == _BLANK_LINE
        self._ended = time.monotonic()
        worn = self._requests >= MAX_REQUESTS or self._ended - self._made >= MAX_AGE
        if worn or not whole:
            self._protocol.force_close()

    # --- called by the transport --------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand bytes to aiohttp, unless they cannot belong to the response."""
        if not self._under_way:
            self._end_with("sent something that no request asked for")
            return
        if not self._size and self._requests > 1 and self._transport.get_write_buffer_size():
            self._end_with("answered before it had the whole request")
            return
        self._size += len(data)
        self._last = (self._last + data[-4:])[-4:]
        if self._length is None:
            self._length = self._read_length(data)
        self._protocol.data_received(data)

    def _read_length(self, data: bytes) -> int | None:
        """Return the length of the whole response if its headers tell it; else -1.

        Returns None until all headers have come.
        """
        self._head += data
        end = self._head.find(_BLANK_LINE)
        if end < 0:
            return None if len(self._head) < MAX_HEAD else -1
        head, self._head = self._head[: end + 4], b""
        # An informational response precedes the one whose length matters.
        found = None if head.startswith(b"HTTP/1.1 1") else _LENGTH.search(head)
        return len(head) + int(found[1]) if found else -1

    def _end_with(self, what: str) -> None:
        host, port = self._transport.get_extra_info("peername")[:2]
        log.warning(
            "the web server at %s:%d %s; its connection was closed (with keep_alive = no, each "
            "request has a new one)",
            host,
            port,
            what,
        )
        self._protocol.set_exception(aiohttp.ClientConnectionError(f"the server {what}"))
        self._transport.abort()

    def eof_received(self) -> None:
        """Hand the end of the stream to aiohttp."""
        self._protocol.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell aiohttp that the connection is closed."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell aiohttp that the buffer of the transport is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp that the buffer of the transport has room again."""
        self._protocol.resume_writing()
