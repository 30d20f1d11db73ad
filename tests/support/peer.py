"""A scripted peer: does what no real server will do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from .ports import HOST, free_port


class Line:
    """One connection to the peer, as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        #: what `command` has returned
        self.commands: list[bytes] = []

    async def command(self) -> bytes:
        """The next command, without its CR LF; behind a put its body, without the second one.

        Raises EOFError when no more comes.
        """
        line = (await self.reader.readuntil(b"\r\n"))[:-2]
        if line.startswith(b"put "):
            body = await self.reader.readexactly(int(line.split()[-1]) + 2)
            line += b"\r\n" + body[:-2]
        self.commands.append(line)
        return line

    async def expect(self, *commands: bytes) -> None:
        """Reads these commands, and nothing else."""
        for command in commands:
            came = await self.command()
            assert came == command, f"{came!r} came instead of {command!r}"

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        """Ends the connection with a reset, as a server that was killed does."""
        self.writer.transport.abort()

    async def end(self) -> None:
        """Waits until the client has ended the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(2**16):
                pass


Script = Callable[[Line], Awaitable[None]]


class Peer:
    """Listens on a free port and plays `script` on each connection; then closes it.

    To be used with ``async with``, on the loop of the test. What a script raises, other than
    the end of its connection, is raised again at the end.
    """

    def __init__(self, script: Script, port: int | None = None) -> None:
        self.host = HOST
        self.port = port or free_port()
        #: all connections so far
        self.lines: list[Line] = []
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._errors and error is None:
            raise self._errors[0]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._play(Line(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, line: Line) -> None:
        self.lines.append(line)
        try:
            await self._script(line)
        except (EOFError, ConnectionError):
            pass
        except Exception as error:
            self._errors.append(error)
        finally:
            line.writer.close()
            with suppress(ConnectionError):
                await line.writer.wait_closed()
