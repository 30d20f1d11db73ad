"""Standard error for a program whose event loop must not wait until a reader reads it."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LIMIT = 2**20
"""Bytes that wait at most, unless a single write is longer."""

GATHER_DELAY = 0.01
"""Seconds for which writes are gathered after one. A single line is written at once; a thousand
lines a second wake the thread up a hundred times."""

FINISH_TIMEOUT = 1.0
"""Seconds that the end of the program waits until everything is written."""

_MAX_ATOMIC = select.PIPE_BUF
"""Bytes that reach a pipe in one piece, even while other processes write to it."""


class Spool(io.RawIOBase):
    """A stream that accepts every write at once, and whose thread writes it to a descriptor.

    While the descriptor accepts nothing (a full pipe without a reader, a terminal that was
    stopped), up to LIMIT bytes wait. Further writes are dropped, and when there is room again
    their number of lines is written. Writes that fail, such as after the reader has gone, count
    as dropped too.

    Any thread, signal handler and destructor may write: so there is no lock.

    :ivar tell_dropped: returns the line that says how many lines were dropped
    """

    def __init__(self, fd: int, tell_dropped: Callable[[int], str]) -> None:
        super().__init__()
        self._fd = fd
        self.tell_dropped = tell_dropped
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._waiting = 0  # bytes in the queue, approximately
        self._refused = 0  # lines that found no room
        self._failed = 0  # lines that could not be written
        self._told = 0  # of those two, how many have been reported
        self._direct = False  # whether there is no thread
        try:
            threading.Thread(target=self._carry, name="standard error", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._direct = True
        self._pid = os.getpid()

    # --- a stream ---

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer, /) -> int:
        """Accept bytes, all of them, and return their number."""
        piece = bytes(data)
        self._notice_fork()
        if self._direct:
            self._put(piece)
        # An empty queue always accepts a piece, because the count is not exact.
        elif self._waiting + len(piece) > LIMIT and not self._queue.empty():
            self._refused += piece.count(b"\n")
        else:
            self._waiting += len(piece)
            self._queue.put(piece)
        return len(piece)

    def finish(self, seconds: float = FINISH_TIMEOUT) -> None:
        """Write everything that waits, for as many seconds at most, and end the thread.

        Later writes go to the descriptor directly.
        """
        self._notice_fork()
        if not self._direct:
            done = threading.Event()
            self._queue.put(done)
            done.wait(seconds)

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            # A fork has no thread; the parent's thread writes what waits.
            self._pid = os.getpid()
            self._queue = queue.SimpleQueue()
            self._direct = True

    # --- the thread ---

    def _carry(self) -> None:
        ends: list[threading.Event] = []
        while not ends:
            batch = [self._queue.get(), *self._gathered()]
            ends = self._put_batch(batch)
            if not ends:
                time.sleep(GATHER_DELAY)
        # Not earlier: a direct write may have to wait, and would come before those in the queue.
        self._direct = True
        ends += self._put_batch(self._gathered())  # what came meanwhile
        for end in ends:
            end.set()

    def _put_batch(self, batch: list[bytes | threading.Event]) -> list[threading.Event]:
        """Write the bytes of a batch, and return its events."""
        self._put_all([item for item in batch if isinstance(item, bytes)])
        return [item for item in batch if isinstance(item, threading.Event)]

    def _gathered(self) -> list[bytes | threading.Event]:
        """Take what is in the queue now; more may be added without end."""
        taken = []
        with contextlib.suppress(queue.Empty):
            for _ in range(self._queue.qsize()):
                taken.append(self._queue.get_nowait())
        self._waiting = 0
        return taken

    def _put_all(self, pieces: list[bytes]) -> None:
        start = size = 0
        for index, piece in enumerate(pieces):
            if size + len(piece) > _MAX_ATOMIC:
                self._put(b"".join(pieces[start:index]))
                start, size = index, 0
            size += len(piece)
        self._put(b"".join(pieces[start:]))
        dropped = self._refused + self._failed - self._told
        if dropped and self._put(self.tell_dropped(dropped).encode() + b"\n", counts=False):
            self._told += dropped

    def _put(self, data: bytes, counts: bool = True) -> bool:
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    self._await_room()
        except OSError:
            self._failed += counts and data.count(b"\n")
            return False
        return True

    def _await_room(self) -> None:
        """Wait for a descriptor that another process has set not to block."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()


def text_stream(spool: Spool) -> io.TextIOWrapper:
    """Return a text stream, such as ``sys.stderr``, that writes whole lines to a spool."""
    return io.TextIOWrapper(
        spool,  # type: ignore[arg-type]  # Python does so itself for an unbuffered stream
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
