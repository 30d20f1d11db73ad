"""Searches bodies for a regular expression, in a process that can be stopped."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from weakref import finalize

from ..errors import BeanstalkException
from . import pattern_program
from .record import JobRecord

LIMIT = 5.0
"""Seconds that the search of one body may take."""


class PatternTooSlow(BeanstalkException):
    """Report a regular expression that takes too long, or too much memory, on some body."""


class PatternSearch:
    """Search bodies for matches of a pattern, without keeping the event loop from anything else.

    A regular expression may need years for some body, and Python does nothing else meanwhile. So a
    child process searches. It is started by the first search, and ends with :meth:`close`, with an
    error, and when this object is collected.

    :param limit: seconds that one body may take; None: `LIMIT`
    """

    def __init__(self, pattern: re.Pattern[bytes], limit: float | None = None) -> None:
        self._pattern = pattern
        self._limit = LIMIT if limit is None else limit
        self._process: _Process | None = None
        self._end: finalize[..., PatternSearch] | None = None

    async def search(self, records: Sequence[JobRecord]) -> list[bool]:
        """Return of each record whether its body contains a match.

        Raises PatternTooSlow.
        """
        if not records:
            return []
        data = bytearray()
        if self._process is None:
            self._process = _Process(self._limit)
            self._end = finalize(self, self._process.end)
            source = self._pattern.pattern
            data += struct.pack("!II", self._pattern.flags, len(source)) + source
        for record in records:
            body = record.body or b""
            data += struct.pack("!I", len(body)) + body
        try:
            found = await self._process.ask(data, len(records))
            if len(found) < len(records):
                raise self._failure(records[len(found)], self._process.status())
        except BaseException:
            self.close()  # what it says next would be about other bodies
            raise
        return [answer == ord("+") for answer in found]

    def _failure(self, record: JobRecord, status: int) -> PatternTooSlow:
        why = (
            f"takes longer than {self._limit:g} s"
            if status == -signal.SIGALRM
            else f"could not be searched for (the process that did it ended with status {status})"
        )
        return PatternTooSlow(
            f"the regular expression {self._pattern.pattern!r:.80} {why} in the body of job "
            f"{record.id}: use one without nested repetition, or search for text"
        )

    def close(self) -> None:
        """End the process, if there is one. A search after that starts another one."""
        if self._end is not None:
            self._end()
        self._process = None


class _Process:
    """The child process, and our end of the socket that is its standard input."""

    def __init__(self, limit: float) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # Isolated and without `site`: it starts in half the time.
                [sys.executable, "-I", "-S", "-c", _SOURCE, str(limit)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        self._socket.setblocking(False)

    async def ask(self, data: bytearray, count: int) -> bytes:
        """Send data, and return its answers: `count` of them, or fewer if it has ended."""
        loop = asyncio.get_running_loop()
        found = bytearray()
        # At the same time: it waits where its answers are not read.
        sending = asyncio.ensure_future(loop.sock_sendall(self._socket, data))
        try:
            with suppress(ConnectionError):  # it has ended, and did not read all
                while len(found) < count and (
                    chunk := await loop.sock_recv(self._socket, count - len(found))
                ):
                    found += chunk
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return bytes(found)

    def status(self) -> int:
        """Return the exit status: it has closed its socket, and so ends now."""
        return self._process.wait()

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


_SOURCE = Path(pattern_program.__file__).read_text("utf-8")
