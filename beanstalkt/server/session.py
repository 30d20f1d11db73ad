"""The state of a client's connection, without its socket."""

from __future__ import annotations

from .heap import Heap
from .reader import Reader
from .rotating_set import RotatingSet
from .stored_job import StoredJob
from .tube import Tube


class Session:
    """Hold what one client has sent, uses, watches, has reserved and will be sent.

    :param number: distinguishes the session from all other sessions
    :param used_tube: the tube that puts go to until the client says otherwise
    :param unsent: a list, shared by all sessions, to which a session appends itself when it gets
        the first reply since :meth:`take_replies` was last called
    """

    __slots__ = (
        "_replies",
        "_unsent",
        "closing",
        "discarding",
        "half_closed",
        "held",
        "incoming",
        "is_producer",
        "is_worker",
        "number",
        "reader",
        "replies_size",
        "stalled",
        "used_tube",
        "waiting",
        "watched",
    )

    def __init__(self, number: int, used_tube: Tube, unsent: list[Session]) -> None:
        self.number = number
        self.reader = Reader()
        self.used_tube = used_tube
        self.watched: RotatingSet[Tube] = RotatingSet()
        #: the jobs that the client has reserved, by their deadlines
        self.held: Heap[StoredJob] = Heap()
        #: whether a reserve waits for a job; further commands wait for its reply
        self.waiting = False
        #: whether the client has ever put a job, and whether it has ever reserved one
        self.is_producer = self.is_worker = False
        #: the job whose body is about to arrive
        self.incoming: StoredJob | None = None
        #: whether the body of a put that was too big is about to arrive, and is thrown away
        self.discarding = False
        #: whether the client has closed its sending side
        self.half_closed = False
        #: whether the connection is to be closed after all replies were sent
        self.closing = False
        #: whether further commands wait until replies were taken
        self.stalled = False
        #: bytes of the replies that were not taken yet
        self.replies_size = 0
        self._replies: list[bytes] = []
        self._unsent = unsent

    def reply(self, *pieces: bytes) -> None:
        """Append a reply, given in pieces, to those that the client will be sent."""
        if not self._replies:
            self._unsent.append(self)
        self._replies += pieces
        for piece in pieces:
            self.replies_size += len(piece)

    def take_replies(self) -> bytes:
        """Remove and return the replies that are to be sent."""
        replies = b"".join(self._replies)
        self._replies.clear()
        self.replies_size = 0
        return replies

    @property
    def has_replies(self) -> bool:
        """Return whether there are replies to be sent."""
        return bool(self._replies)
