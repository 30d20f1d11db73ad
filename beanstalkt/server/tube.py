"""A tube: its queues of jobs, and the sessions that wait for its jobs."""

from __future__ import annotations

from collections import OrderedDict

from .heap import Heap
from .rotating_set import RotatingSet
from .stored_job import StoredJob

URGENT_LIMIT = 1024
"""Jobs with a priority number below this are counted as urgent (section 6.3)."""


class Tube:
    """Hold the ready, delayed and buried jobs of one tube.

    Reserved jobs are held by the sessions that reserved them, and only counted here.
    """

    __slots__ = (
        "buried",
        "delayed",
        "deletes",
        "job_count",
        "name",
        "number",
        "pause",
        "paused_until",
        "pauses",
        "ready",
        "reserved_count",
        "total_jobs",
        "urgent_count",
        "user_count",
        "waiting",
        "watcher_count",
    )

    def __init__(self, name: bytes, number: int) -> None:
        self.name = name
        #: distinguishes the tube from all other tubes in a heap
        self.number = number
        self.ready: Heap[StoredJob] = Heap()
        self.delayed: Heap[StoredJob] = Heap()
        #: jobs by their ids, the first buried first. The removals at the front of a plain dict
        #: leave gaps there, which every search for its first item would step over.
        self.buried: OrderedDict[int, StoredJob] = OrderedDict()
        #: the numbers of the sessions whose reserve waits for a job of this tube
        self.waiting: RotatingSet[int] = RotatingSet()
        #: jobs of the tube in all states together
        self.job_count = 0
        #: ready jobs that are urgent
        self.urgent_count = 0
        self.reserved_count = 0
        #: sessions that use the tube, and sessions that watch it
        self.user_count = self.watcher_count = 0
        #: the length of the present pause in seconds; 0 if the tube is not paused
        self.pause = 0
        #: the time when the present pause ends
        self.paused_until = 0.0
        #: how many jobs were put, how many deleted, and how often the tube was paused
        self.total_jobs = self.deletes = self.pauses = 0

    def add_ready(self, job: StoredJob) -> None:
        """Add a job to the ready queue. The caller sets the job's state."""
        self.ready.push(job.priority, job.id, job)
        if job.priority < URGENT_LIMIT:
            self.urgent_count += 1

    def remove_ready(self, job: StoredJob) -> None:
        """Remove a job from the ready queue."""
        self.ready.discard(job.id)
        if job.priority < URGENT_LIMIT:
            self.urgent_count -= 1

    @property
    def next_job(self) -> StoredJob | None:
        """Return the job that a reserve would get: None if the tube is paused (section 2.6)."""
        return None if self.pause else self.ready.first()

    @property
    def first_buried(self) -> StoredJob | None:
        """Return the job that has been buried for the longest time, or None if there is none."""
        return next(iter(self.buried.values()), None)

    @property
    def unused(self) -> bool:
        """Return whether the tube has no jobs, and no session uses or watches it (section 2.5)."""
        return not (self.job_count or self.user_count or self.watcher_count)
