"""The command line's input: as it comes, whole or cut into lines, in bounded memory."""

from __future__ import annotations

import asyncio
import os

from ..errors import InvalidArgument

CHUNK = 2**20
"""Bytes read at a time; what is read at once is put at once."""

MAX_JOB = 2**30
"""Bytes. No server takes more, and input without an end must not fill the memory."""


class Lines:
    """Lines from chunks, however the bytes are split. A line comes without its LF or CR LF."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has no end yet
        self._size = 0  # of those pieces together

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. Raises InvalidArgument on one of over 1 GiB."""
        first, *more = chunk.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > MAX_JOB:
            raise InvalidArgument("a line of more than 1 GiB: no server takes such a job")
        if not more:
            return []
        lines = [b"".join(self._pieces), *more]
        rest = lines.pop()
        self._pieces, self._size = [rest], len(rest)
        return [line.removesuffix(b"\r") for line in lines]

    def end(self) -> list[bytes]:
        """The last line, where the input does not end with a line end."""
        rest = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return [rest] if rest else []


async def read_all(descriptor: int) -> bytes:
    """All of a file or pipe. Raises InvalidArgument past 1 GiB, and OSError."""
    chunks = []
    size = 0
    while chunk := await read_some(descriptor):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_JOB:
            raise InvalidArgument("a body of more than 1 GiB: no server takes such a job")
    return b"".join(chunks)


async def read_some(descriptor: int) -> bytes:
    """What a file, pipe or terminal has, as soon as it has any; empty at its end.

    Raises OSError. It may be cancelled.
    """
    # Waited for by the loop: a read that blocks would hold up the replies, and Ctrl-C.
    await _readable(descriptor)
    return os.read(descriptor, CHUNK)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # epoll takes no plain file: that can always be read
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
