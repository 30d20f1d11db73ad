"""A job as the server keeps it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session
    from .tube import Tube


class State(enum.Enum):
    """Where a job is in its life (section 2.1), by the word that stats-job has for it."""

    INVALID = "invalid"  # its body has not all come yet
    READY = "ready"
    DELAYED = "delayed"
    RESERVED = "reserved"
    BURIED = "buried"


class Job:
    """One job. Times are the clock's, in seconds; `delay` and `ttr` are whole seconds."""

    __slots__ = (
        "body",
        "buries",
        "created",
        "deadline",
        "delay",
        "holder",
        "id",
        "kicks",
        "priority",
        "releases",
        "reserves",
        "size",
        "state",
        "timeouts",
        "ttr",
        "tube",
    )

    def __init__(
        self,
        number: int,
        tube: Tube,
        priority: int,
        delay: int,
        ttr: int,
        size: int,
        created: float,
    ) -> None:
        self.id = number
        self.tube = tube
        self.priority = priority
        self.delay = delay
        self.ttr = ttr
        self.created = created
        #: of the body, in bytes; known before the body is
        self.size = size
        self.body = b""
        self.state = State.INVALID
        #: the session that has reserved it
        self.holder: Session | None = None
        #: when a delayed one becomes ready, when a reserved one is taken away
        self.deadline = 0.0
        self.reserves = self.timeouts = self.releases = self.buries = self.kicks = 0
