"""Standard error for a program whose loop must not wait for whoever reads it."""

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
"""Bytes that wait at most, one longer piece aside."""

GATHER = 0.01
"""Seconds for which writes are gathered after a first one: a line of its own is written at once,
and a thousand lines a second cost a hundred wake-ups of the thread."""

LAST = 1.0
"""Seconds that the end of the program waits for what has not been written yet."""

_WHOLE = select.PIPE_BUF
"""Bytes that reach a pipe in one piece, also where other processes write to it."""


class Spool(io.RawIOBase):
    """A stream that takes every write at once, and whose thread writes it to a descriptor.

    Where that does not take it (a pipe that nobody reads, a terminal that was stopped), up to
    LIMIT bytes wait. What comes then is dropped, its lines are counted, and how many they were
    is written once there is room again. What cannot be written at all, as when the reader has
    gone, counts as dropped too.

    It is written to from any thread, from signal handlers and destructors: so there is no lock.

    :ivar tell_dropped: makes the line that tells how many were dropped
    """

    def __init__(self, fd: int, tell_dropped: Callable[[int], str]) -> None:
        super().__init__()
        self._fd = fd
        self.tell_dropped = tell_dropped
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._waiting = 0  # bytes in the queue, about
        self._refused = 0  # lines that found no room
        self._failed = 0  # lines that could not be written
        self._told = 0  # of those two, how many have been told of
        self._direct = False  # whether there is no thread
        try:
            threading.Thread(target=self._carry, name="standard error", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._direct = True
        self._pid = os.getpid()

    # --- what a stream is asked ---

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        self._notice_fork()
        if self._direct:
            self._put(piece)
        # An empty queue always takes one: the count is only about right.
        elif self._waiting + len(piece) > LIMIT and not self._queue.empty():
            self._refused += piece.count(b"\n")
        else:
            self._waiting += len(piece)
            self._queue.put(piece)
        return len(piece)

    def finish(self, seconds: float = LAST) -> None:
        """Wait until all has been written, or as many seconds, and have the thread end then.

        What is written later has no thread to wait for: the caller writes it.
        """
        self._notice_fork()
        if not self._direct:
            done = threading.Event()
            self._queue.put(done)
            done.wait(seconds)

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            # The thread is in the parent, and will write what waits there.
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
                time.sleep(GATHER)
        # Not before all was written: who writes now may have to wait.
        self._direct = True
        ends += self._put_batch(self._gathered())  # what came meanwhile
        for end in ends:
            end.set()

    def _put_batch(self, batch: list[bytes | threading.Event]) -> list[threading.Event]:
        """Write what is to be written, and return the events."""
        self._put_all([item for item in batch if isinstance(item, bytes)])
        return [item for item in batch if isinstance(item, threading.Event)]

    def _gathered(self) -> list[bytes | threading.Event]:
        """Take what is in the queue, but no more than is in it now: more may come for ever."""
        taken = []
        with contextlib.suppress(queue.Empty):
            for _ in range(self._queue.qsize()):
                taken.append(self._queue.get_nowait())
        self._waiting = 0
        return taken

    def _put_all(self, pieces: list[bytes]) -> None:
        start = size = 0
        for index, piece in enumerate(pieces):
            if size + len(piece) > _WHOLE:
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
        """Wait where another process has set the descriptor not to block."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()


def text_stream(spool: Spool) -> io.TextIOWrapper:
    """Make a text stream, such as ``sys.stderr``, that passes whole lines on to a spool."""
    return io.TextIOWrapper(
        spool,  # type: ignore[arg-type]  # as Python itself has it when it is not to buffer
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
