"""Watches connections that are kept, so that no request gets another one's answer. Needs aiohttp.

HTTP/1.1 tells answers apart by their order alone: after one answer too many, each request would
get the one before. So a connection is used again only if its last answer ended exactly where it
should have, and nothing has come since then.
"""

from __future__ import annotations

import asyncio
import re
import select
import time
from typing import NoReturn

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from ...log.lines import log

REST = 0.001
"""Seconds between an answer and the next request, for what may follow the answer at once."""

MAX_REQUESTS = 100
"""Requests on one connection. A surplus answer that arrives after the next request has left looks
like that one's; this is as far as it can shift the others."""

MAX_AGE = 5.0
"""Seconds after which a connection is not used again, for the same reason."""

MAX_HEAD = 16 * 1024
"""Bytes in which the end of an answer's headers is looked for. After longer ones the connection is
not kept."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_BLANK_LINE = b"\r\n\r\n"


class Stale(aiohttp.ClientConnectionError):
    """A kept connection cannot be used again. Nothing was sent on it."""


class WatchedConnector(aiohttp.TCPConnector):
    """Makes and keeps connections, each with its :class:`Watch`."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for this request, on which nothing has come. Raises Stale."""
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
    """A request that is written only if nothing has come on its connection before."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write a request; its body may follow in a task. Raises Stale."""
        if not self.body:  # else write_bytes does it
            Watch.of(conn).begin()
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write the headers and the body: the headers wait for it, to leave in one write."""
        try:
            Watch.of(conn).begin()
        except aiohttp.ClientConnectionError as error:
            # This may be a task of its own; whoever waits for the answer is to be told.
            if conn.protocol is not None:
                conn.protocol.set_exception(error)
            return
        await super().write_bytes(writer, conn, content_length)


class Watch(asyncio.Protocol):
    """Stands between a transport and aiohttp's handler, and sees what comes when.

    :param connection: a new one, with its transport
    """

    def __init__(self, connection: Connection) -> None:
        if connection.transport is None or connection.protocol is None:
            raise aiohttp.ClientConnectionError("the server closed the connection at once")
        self._transport = connection.transport
        self._handler = connection.protocol
        self._made = time.monotonic()
        self._ended = 0.0  # when the last answer had come
        self._requests = 0
        self._under_way = False
        # Of the answer under way:
        self._size = 0  # bytes that have come
        self._length: int | None = 0  # all bytes that it has; -1: unknown; None: not yet known
        self._head = b""  # its beginning, until the length is known
        self._last = b""  # the last four bytes that have come
        # Before the first request over TLS, the rest of the handshake may be unread.
        self._ignore_unread = self._transport.get_extra_info("sslcontext") is not None
        self._unread = select.poll()
        self._unread.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._transport.set_protocol(self)

    @classmethod
    def of(cls, connection: Connection) -> Watch:
        """The one that stands in this connection; a new connection gets one."""
        transport = connection.transport
        found = None if transport is None else transport.get_protocol()
        return found if isinstance(found, Watch) else cls(connection)

    async def rest(self) -> None:
        """Wait until what follows the last answer at once has come."""
        if self._requests and (left := self._ended + REST - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def check(self) -> None:
        """Raise Stale if anything was read, on a new connection ClientConnectionError."""
        if self._handler.should_close or self._transport.is_closing():
            self._refuse()

    def begin(self) -> None:
        """Begin a request: what comes from now on is its answer.

        Raises as :meth:`check` does, also if the system has bytes, or the connection's end, that
        were not read yet.
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
        """End the request: the connection is about to be kept, or closed."""
        self._under_way = False
        # With a blank line at the end no half of a next message has come: whole ones are
        # aiohttp's to see.
        whole = self._size == self._length or self._last == _BLANK_LINE
        self._ended = time.monotonic()
        worn = self._requests >= MAX_REQUESTS or self._ended - self._made >= MAX_AGE
        if worn or not whole:
            self._handler.force_close()

    # --- what the transport says --------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
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
        self._handler.data_received(data)

    def _read_length(self, data: bytes) -> int | None:
        """The length of the whole answer, as its headers tell it."""
        self._head += data
        end = self._head.find(_BLANK_LINE)
        if end < 0:
            return None if len(self._head) < MAX_HEAD else -1
        head, self._head = self._head[: end + 4], b""
        # Informational answers come before the one whose length would count.
        said = None if head.startswith(b"HTTP/1.1 1") else _LENGTH.search(head)
        return len(head) + int(said[1]) if said else -1

    def _end_with(self, what: str) -> None:
        host, port = self._transport.get_extra_info("peername")[:2]
        log.warning(
            "the web server at %s:%d %s; its connection was closed (with keep_alive = no, each "
            "request has a new one)",
            host,
            port,
            what,
        )
        self._handler.set_exception(aiohttp.ClientConnectionError(f"the server {what}"))
        self._transport.abort()

    def eof_received(self) -> None:
        self._handler.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()
