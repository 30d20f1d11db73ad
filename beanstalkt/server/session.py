"""A connection without its socket: what it has sent, uses, watches, holds and waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import commands
from .heap import Heap
from .job import Job
from .reader import Reader
from .rotating_set import Bag

if TYPE_CHECKING:
    from .engine import Engine
    from .tube import Tube

MAX_REPLIES = 256 * 1024
"""Bytes. With more than this unsent, no further command is carried out: a client that never reads
costs this much, and the longest reply, and no more."""


class Session:
    """One connection. Its commands run in order, one reply each, none while a reserve waits."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        #: tells one session from the next in a heap
        self.number = number
        self.reader = Reader()
        self.using = engine.default_tube
        self.using.using += 1
        self.watched: Bag[Tube] = Bag()
        engine.watch(self, engine.default_tube)
        #: reserved jobs by their deadline
        self.held: Heap[Job] = Heap()
        #: a reserve has not been answered yet
        self.waiting = False
        #: has put, has reserved: for the counts in stats
        self.producer = self.worker = False
        #: the job whose body is on its way
        self.incoming: Job | None = None
        #: the body of a put that was too big is on its way, to be thrown away
        self.skipping = False
        #: the client sends no more
        self.half_closed = False
        #: to be closed when all replies are sent
        self.closing = False
        #: has more to do when its replies have been taken
        self.stalled = False
        self._replies: list[bytes] = []
        self._replies_size = 0

    # --- replies --------------------------------------------------------------------------

    def reply(self, *pieces: bytes) -> None:
        """Add to what is to be sent."""
        if not self._replies:
            self.engine.unsent.append(self)
        self._replies += pieces
        for piece in pieces:
            self._replies_size += len(piece)

    def take(self) -> bytes:
        """What is to be sent; it is the caller's now."""
        replies = b"".join(self._replies)
        self._replies.clear()
        self._replies_size = 0
        return replies

    @property
    def has_replies(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._replies)

    # --- commands -------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out what has come, as far as possible now."""
        engine = self.engine
        self.stalled = False
        while not (self.waiting or self.closing or self._replies_size > MAX_REPLIES):
            if self.incoming:
                body = self.reader.body(self.incoming.size + 2)
                if body is None:
                    break
                engine.now = engine.clock()
                self.reply(commands.end_of_put(engine, self, body))
            elif self.skipping:
                if not self.reader.skipped():
                    break
                self.skipping = False
                self.reply(b"JOB_TOO_BIG\r\n")
            else:
                line = self.reader.line()
                if line is None:
                    break
                engine.now = engine.clock()
                reply = commands.execute(engine, self, line)
                if reply is not None:
                    self.reply(reply)
        else:
            self.stalled = self._replies_size > MAX_REPLIES and not self.closing
            return
        # Whatever is left is the beginning of something whose end will never come.
        if self.half_closed:
            self.closing = True
