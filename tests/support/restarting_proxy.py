"""A relay between a client and a server, whose connections can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from .beanstalkd import Beanstalkd
from .ports import HOST, free_port


class Proxy:
    """To be used with ``async with``, on the loop of the test."""

    def __init__(self, server: Beanstalkd) -> None:
        self.server = server
        self.port = free_port()
        #: the connections that are open, oldest first
        self.lines: list[Line] = []
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"beanstalk://{HOST}:{self.port}"

    async def __aenter__(self) -> Proxy:
        await self.accept()
        return self

    async def accept(self) -> None:
        """Let clients connect, again."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Line(self), HOST, self.port)

    def refuse(self) -> None:
        """Break all connections, and accept no new one."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Break all connections, on both sides."""
        for line in list(self.lines):
            line.cut()


class Line(asyncio.Protocol):
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._early = b""
        #: what has come from the client
        self.sent = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = transport
        self._proxy.lines.append(self)
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        server = self._proxy.server
        loop = asyncio.get_running_loop()
        try:
            self._server, _ = await loop.create_connection(
                lambda: _Back(self), server.host, server.port
            )
        except OSError:
            self.cut()
            return
        self._server.write(self._early)

    def data_received(self, data: bytes) -> None:
        self.sent += data
        if self._server is None:
            self._early += data
        else:
            self._server.write(data)

    def back(self, data: bytes) -> None:
        assert self._client is not None
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut()

    def cut(self) -> None:
        with contextlib.suppress(ValueError):
            self._proxy.lines.remove(self)
        for transport in (self._client, self._server):
            if transport is not None:
                transport.abort()


class _Back(asyncio.Protocol):
    def __init__(self, line: Line) -> None:
        self._line = line

    def data_received(self, data: bytes) -> None:
        self._line.back(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.cut()
