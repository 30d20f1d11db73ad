"""Web servers for tests: Tornado's own, and one that does with its connections what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

Answer = Callable[[RequestHandler], Awaitable[None] | None]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """A Tornado server. `answer` is called for each request; `requests` has them all."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.requests: list[HTTPServerRequest] = []
        #: requests under way, and the most that ever were
        self.now = self.most = 0
        self.connections: set[object] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def handle(self, handler: RequestHandler) -> None:
        self.requests.append(handler.request)
        # Only its address: the connection itself would be kept alive by us.
        connection = handler.request.connection
        self.connections.add(id(connection.stream))  # type: ignore[union-attr]
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            result = None if self.answer is None else self.answer(handler)
            if result is not None:
                # Cancelled by the end of the test; Tornado would report that.
                with contextlib.suppress(asyncio.CancelledError):
                    await result
        finally:
            self.now -= 1


@asynccontextmanager
async def serving(
    answer: Answer | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Web]:
    """A web server on loopback."""
    web = Web(answer)

    class Handler(RequestHandler):
        async def prepare(self) -> None:
            await web.handle(self)
            if not self._finished:
                self.finish()

    server = HTTPServer(Application([(".*", Handler)], log_function=_quiet), ssl_options=tls)
    sock = listening()
    server.add_socket(sock)
    web.url = f"http{'s' if tls else ''}://127.0.0.1:{sock.getsockname()[1]}"
    try:
        yield web
    finally:
        server.stop()
        # Those whose answer nobody waits for any more.
        for task in web.tasks:
            task.cancel()
        await asyncio.gather(*web.tasks, return_exceptions=True)
        await server.close_all_connections()


def _quiet(handler: RequestHandler) -> None:
    """No word about each request."""


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """A server that runs the script for each connection; its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        # Cancelled at the end of the test: asyncio's own streams would report that.
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, sock=listening())
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def head(reader: asyncio.StreamReader) -> bytes:
    """The line and headers of a request."""
    return await reader.readuntil(b"\r\n\r\n")
