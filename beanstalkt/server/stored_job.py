"""A job as the server stores it."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """Name the states of a job (section 2.1) with the words of stats-job."""

    INVALID = "invalid"  # its body has not arrived completely
    READY = "ready"
    DELAYED = "delayed"
    RESERVED = "reserved"
    BURIED = "buried"


class StoredJob:
    """Hold everything that the server knows about one job.

    The job refers to its tube by name and to the connection that has reserved it by number.
    Times are those of the engine's clock, in seconds; `delay` and `ttr` are whole seconds.
    """

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
        "tube_name",
    )

    def __init__(
        self,
        job_id: int,
        tube_name: bytes,
        priority: int,
        delay: int,
        ttr: int,
        size: int,
        created: float,
    ) -> None:
        self.id = job_id
        self.tube_name = tube_name
        self.priority = priority
        self.delay = delay
        self.ttr = ttr
        self.created = created
        #: bytes of the body; known before the body itself arrives
        self.size = size
        self.body = b""
        self.state = JobState.INVALID
        #: the number of the session that has reserved the job
        self.holder: int | None = None
        #: the time when a delayed job becomes ready, or when a reservation expires
        self.deadline = 0.0
        #: how often each of these has happened to the job
        self.reserves = self.timeouts = self.releases = self.buries = self.kicks = 0
