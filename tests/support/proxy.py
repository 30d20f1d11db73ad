"""A proxy that keeps what it passes on, and can cut it off at any byte."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from .ports import HOST, free_port

ProxyT = TypeVar("ProxyT", bound="Proxy")


class Way:
    """What goes one way through the proxy, on all connections together."""

    def __init__(self) -> None:
        #: all that was passed on
        self.passed = bytearray()
        #: bytes that may still pass before the connection is cut; None: any number
        self.left: int | None = None
        #: cleared, nothing is passed on
        self.open = asyncio.Event()
        self.open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            await self.open.wait()
            if self.left is not None:
                data = data[: self.left]
                self.left -= len(data)
            self.passed += data
            writer.write(data)
            await writer.drain()
            if self.left == 0:
                self.left = None
                return


class Proxy:
    """Stands between clients and a server, with TLS towards the clients if so wanted."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.host = HOST
        self.port = free_port()
        self.up = Way()  # what clients say
        self.down = Way()  # what the server says
        self.accepted = 0
        self._target = (host, port)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self: ProxyT) -> ProxyT:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Accept connections, on the same port each time."""
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, ssl=self._tls
        )

    async def refuse(self) -> None:
        """Cuts every connection and takes no new ones."""
        self.stop_listening()
        await self.cut()

    def stop_listening(self) -> None:
        """Takes no new connections, and leaves those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def cut(self) -> None:
        """Cuts every connection; the server has got all that was passed on."""
        tasks = list(self._tasks)
        await asyncio.sleep(0)  # a task that is cancelled before its first step closes nothing
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it was accepted before, and comes here only now
            writer.close()
            return
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._stand_between(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stand_between(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = [writer]
        ways: list[asyncio.Future[None]] = []
        # Cancelled itself, open_connection may leave a connection behind that has just come.
        opening = asyncio.ensure_future(asyncio.open_connection(*self._target))
        try:
            from_server, to_server = await asyncio.shield(opening)
            ends.append(to_server)
            ways = [
                asyncio.ensure_future(self.up.carry(reader, to_server)),
                asyncio.ensure_future(self.down.carry(from_server, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # there is no server
        finally:
            # All before the first await, at which this may be cancelled again.
            for way in ways:
                way.cancel()
            for end in ends:
                end.close()
            if len(ends) == 1:
                opening.add_done_callback(_close)
            try:
                await asyncio.wait([opening])
                await asyncio.gather(*ways, return_exceptions=True)
                for end in ends:
                    with suppress(OSError, asyncio.TimeoutError):
                        await asyncio.wait_for(end.wait_closed(), 1)
            finally:
                # Nobody takes what is left; also when this is cancelled while it waits, which
                # it does for TLS on Python 3.10: there a paused reader never sees the other end.
                for end in ends:
                    # Raised by asyncio up to Python 3.11.2 if TLS has ended in the meantime.
                    with suppress(AttributeError):
                        end.transport.abort()


def _close(opening: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    """Close the connection that has come, if one has."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].transport.abort()
