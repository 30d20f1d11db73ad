"""A tube: its jobs, and who waits for them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from .heap import Heap
from .job import Job
from .rotating_set import Bag

if TYPE_CHECKING:
    from .session import Session

URGENT = 1024
"""Jobs of a lower priority number than this are counted as urgent (section 6.3)."""


class Tube:
    """One tube. Reserved jobs are held by their sessions, and only counted here."""

    __slots__ = (
        "buried",
        "delayed",
        "deletes",
        "jobs",
        "name",
        "number",
        "pause",
        "paused_until",
        "pauses",
        "ready",
        "reserved",
        "total_jobs",
        "urgent",
        "using",
        "waiting",
        "watching",
    )

    def __init__(self, name: bytes, number: int) -> None:
        self.name = name
        #: tells one tube from the next in a heap
        self.number = number
        self.ready: Heap[Job] = Heap()
        self.delayed: Heap[Job] = Heap()
        # A plain dict would look at every job that was ever before the first one.
        self.buried: OrderedDict[int, Job] = OrderedDict()
        self.waiting: Bag[Session] = Bag()
        #: every job that belongs to it, in whatever state
        self.jobs = 0
        #: of the ready ones
        self.urgent = 0
        self.reserved = 0
        #: connections
        self.using = self.watching = 0
        #: seconds; 0: not paused
        self.pause = 0
        self.paused_until = 0.0
        #: what has happened in its life
        self.total_jobs = self.deletes = self.pauses = 0

    def add_ready(self, job: Job) -> None:
        """Queue the job; `job.state` is the caller's affair."""
        self.ready.push(job.priority, job.id, job)
        if job.priority < URGENT:
            self.urgent += 1

    def remove_ready(self, job: Job) -> None:
        """Take a ready job out of the queue."""
        self.ready.discard(job.id)
        if job.priority < URGENT:
            self.urgent -= 1

    @property
    def next_job(self) -> Job | None:
        """The job that a reserve would get: none while the tube is paused (section 2.6)."""
        return None if self.pause else self.ready.first()

    @property
    def first_buried(self) -> Job | None:
        """The job that was buried first."""
        return next(iter(self.buried.values()), None)

    @property
    def unused(self) -> bool:
        """Whether nothing refers to it any more (section 2.5)."""
        return not (self.jobs or self.using or self.watching)
