"""The input of the command line: a whole body, or lines as they arrive, in bounded memory."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from argparse import ArgumentParser
from typing import IO

from ..errors import InvalidArgument

CHUNK = 2**20
"""Bytes to read at a time. The lines of one chunk are put together."""

MAX_JOB = 2**30
"""The largest body to read, in bytes.

No server accepts a larger one, and endless input must not fill the memory.
"""


class Lines:
    """Split chunks of bytes into lines, wherever the chunks begin and end.

    A line is returned without the LF or CR LF that ends it.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line whose end has not arrived yet
        self._size = 0  # bytes in those pieces

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; return the lines that it completes.

        Raises InvalidArgument if a line is longer than 1 GiB.
        """
        first, *more = chunk.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > MAX_JOB:
            raise InvalidArgument("a line is longer than 1 GiB: no server accepts such a job")
        if not more:
            return []
        lines = [b"".join(self._pieces), *more]
        rest = lines.pop()
        self._pieces, self._size = [rest], len(rest)
        return [line.removesuffix(b"\r") for line in lines]

    def end(self) -> list[bytes]:
        """Return the last line, if the input did not end with a line end."""
        rest = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return [rest] if rest else []


def open_input(parser: ArgumentParser, name: str) -> IO[bytes]:
    """Open a file to read from, or standard input for ``-``; refuse one that cannot be read.

    A verb does that before it connects: a missing file is wrong usage, for which the parser's
    `error` is called, and opening a named pipe may take long.
    """
    try:
        if name != "-":
            return open(name, "rb", buffering=0)
        if sys.stdin is None:  # it was closed when the program started
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return open(0, "rb", buffering=0, closefd=False)
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        what = "standard input" if name == "-" else name or "''"
        parser.error(f"cannot read {what}: {reason}")


async def read_all(descriptor: int) -> bytes:
    """Read a file, pipe or terminal to its end.

    Raises InvalidArgument if it holds more than 1 GiB, and OSError if it cannot be read.
    """
    chunks = []
    size = 0
    while chunk := await read_some(descriptor):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_JOB:
            raise InvalidArgument("the body is longer than 1 GiB: no server accepts such a job")
    return b"".join(chunks)


async def read_some(descriptor: int) -> bytes:
    """Read up to `CHUNK` bytes as soon as any have arrived; return b"" at the end of the input.

    Raises OSError if the descriptor cannot be read. The call may be cancelled.
    """
    # A read that blocks would hold up the replies of the server, and Ctrl-C.
    await _readable(descriptor)
    return os.read(descriptor, CHUNK)


async def _readable(descriptor: int) -> None:
    """Wait until a read of the descriptor does not block."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # epoll does not watch plain files, which can always be read
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
