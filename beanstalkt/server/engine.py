"""The queue: tubes, jobs, waiting reserves, and what happens when time passes. It has no I/O."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable

from ..protocol.arguments import DEFAULT_TUBE
from .heap import Heap
from .rotating_set import RotatingSet
from .session import Session
from .stored_job import JobState, StoredJob
from .tube import Tube

DEFAULT_MAX_JOB_SIZE = 65535
"""Bytes of the largest body that a server accepts unless it is told otherwise (section 3.1)."""

SAFETY_MARGIN = 1.0
"""Seconds before the end of a ttr in which a reserve is answered DEADLINE_SOON (section 8.3)."""


class Engine:
    """Hold all tubes, jobs and sessions of one server, and move jobs between them.

    The owner of an engine calls :meth:`tick` when :attr:`next_deadline` has come. After any other
    call it empties :attr:`answered` and :attr:`unsent`, and serves the sessions it finds there.

    :param max_job_size: bytes of the largest body that a put may have
    :param clock: returns the time in seconds, which must never decrease; nothing else does
    """

    def __init__(
        self,
        max_job_size: int = DEFAULT_MAX_JOB_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_job_size = max_job_size
        self.clock = clock
        #: the time when the clock was last read
        self.now = clock()
        self.started = self.now
        #: whether all new jobs are refused (section 8.6)
        self.draining = False
        #: distinguishes one run of a server from any other
        self.id = secrets.token_hex(8)
        #: all jobs, by their ids
        self.jobs: dict[int, StoredJob] = {}
        #: all sessions, by their numbers
        self.sessions: dict[int, Session] = {}
        #: all tubes, by their names
        self.tubes: dict[bytes, Tube] = {}
        #: all tubes, in the order of list-tubes
        self.tube_order: RotatingSet[Tube] = RotatingSet()
        #: sessions that have got replies since this list was last emptied
        self.unsent: list[Session] = []
        #: sessions whose reserve no longer waits, so that their next commands can be executed
        self.answered: deque[Session] = deque()
        #: how often each command was understood, by its verb
        self.command_counts: Counter[str] = Counter()
        self.total_jobs = self.total_connections = self.total_timeouts = 0
        self._job_ids = itertools.count(1)
        self._numbers = itertools.count(1)
        # All that time can change, by the time when it does.
        self._delayed: Heap[StoredJob] = Heap()
        self._reserved: Heap[StoredJob] = Heap()
        self._paused: Heap[Tube] = Heap()
        self._waiting: Heap[Session] = Heap()
        self.default_tube = self.open_tube(DEFAULT_TUBE.encode())

    # --- connections ----------------------------------------------------------------------

    def connect(self) -> Session:
        """Return a session for a new connection, which uses and watches the default tube."""
        self.total_connections += 1
        session = Session(next(self._numbers), self.default_tube, self.unsent)
        self.default_tube.user_count += 1
        self.watch(session, self.default_tube)
        self.sessions[session.number] = session
        return session

    def disconnect(self, session: Session) -> None:
        """Remove a session whose connection has ended; its jobs become ready (section 8.4)."""
        session.closing = True
        if session.incoming:
            self.remove_job(session.incoming)
            session.incoming = None
        self.stop_waiting(session)
        for job in list(session.held):
            self.dequeue(job)
            self.make_ready(job)
        while session.watched:
            self.ignore(session, next(iter(session.watched)))
        session.used_tube.user_count -= 1
        self._remove_if_unused(session.used_tube)
        del self.sessions[session.number]

    # --- tubes ----------------------------------------------------------------------------

    def open_tube(self, name: bytes) -> Tube:
        """Return the tube with this name; create it if it does not exist."""
        tube = self.tubes.get(name)
        if tube is None:
            tube = self.tubes[name] = Tube(name, next(self._numbers))
            self.tube_order.add(tube)
        return tube

    def use(self, session: Session, tube: Tube) -> None:
        """Direct the puts of `session` to `tube`."""
        previous, session.used_tube = session.used_tube, tube
        tube.user_count += 1
        previous.user_count -= 1
        self._remove_if_unused(previous)

    def watch(self, session: Session, tube: Tube) -> None:
        """Add `tube` to the tubes that `session` reserves from."""
        if tube not in session.watched:
            session.watched.add(tube)
            tube.watcher_count += 1

    def ignore(self, session: Session, tube: Tube) -> None:
        """Remove `tube` from the tubes that `session` reserves from."""
        session.watched.remove(tube)
        tube.watcher_count -= 1
        self._remove_if_unused(tube)

    def pause(self, tube: Tube, delay: int) -> None:
        """Withhold the jobs of `tube` from reserves for `delay` seconds; 0 ends a pause."""
        tube.pauses += 1
        tube.pause = delay
        if delay:
            tube.paused_until = self.now + delay
            self._paused.push(tube.paused_until, tube.number, tube)
        else:
            self._paused.discard(tube.number)
            self._answer_waiting(tube)

    def _remove_if_unused(self, tube: Tube) -> None:
        if tube.unused and tube is not self.default_tube:
            del self.tubes[tube.name]
            self.tube_order.remove(tube)
            self._paused.discard(tube.number)

    # --- jobs -----------------------------------------------------------------------------

    def create_job(self, tube: Tube, priority: int, delay: int, ttr: int, size: int) -> StoredJob:
        """Return a new job whose body has still to arrive; it can be peeked at already."""
        job = StoredJob(next(self._job_ids), tube.name, priority, delay, ttr or 1, size, self.now)
        self.jobs[job.id] = job
        tube.job_count += 1
        return job

    def put(self, job: StoredJob) -> None:
        """Queue a new job after its body has arrived."""
        self.total_jobs += 1
        self.tubes[job.tube_name].total_jobs += 1
        self.enqueue(job, job.delay)

    def delete(self, job: StoredJob) -> None:
        """Remove a job from its queue, and from the server, as a client has asked."""
        self.tubes[job.tube_name].deletes += 1
        self.dequeue(job)
        self.remove_job(job)

    def remove_job(self, job: StoredJob) -> None:
        """Remove a job that is in no queue from the server."""
        del self.jobs[job.id]
        job.state = JobState.INVALID
        tube = self.tubes[job.tube_name]
        tube.job_count -= 1
        self._remove_if_unused(tube)

    def dequeue(self, job: StoredJob) -> None:
        """Remove a job from the queue that it is in, or from the session that holds it."""
        tube = self.tubes[job.tube_name]
        if job.state is JobState.READY:
            tube.remove_ready(job)
        elif job.state is JobState.DELAYED:
            tube.delayed.discard(job.id)
            self._delayed.discard(job.id)
        elif job.state is JobState.BURIED:
            del tube.buried[job.id]
        elif job.holder is not None:
            tube.reserved_count -= 1
            self._reserved.discard(job.id)
            self.sessions[job.holder].held.discard(job.id)
            job.holder = None

    def enqueue(self, job: StoredJob, delay: int) -> None:
        """Delay a job that is in no queue by `delay` seconds; make it ready if that is 0."""
        if not delay:
            self.make_ready(job)
            return
        job.state = JobState.DELAYED
        job.deadline = self.now + delay
        self.tubes[job.tube_name].delayed.push(job.deadline, job.id, job)
        self._delayed.push(job.deadline, job.id, job)

    def make_ready(self, job: StoredJob) -> None:
        """Make a job that is in no queue ready, and give it to a waiting reserve, if any."""
        job.state = JobState.READY
        tube = self.tubes[job.tube_name]
        tube.add_ready(job)
        if tube.waiting:
            self._answer_waiting(tube)

    def bury(self, job: StoredJob) -> None:
        """Bury a job that is in no queue."""
        job.state = JobState.BURIED
        job.buries += 1
        self.tubes[job.tube_name].buried[job.id] = job

    def kick(self, job: StoredJob) -> None:
        """Make a buried or delayed job ready."""
        self.dequeue(job)
        job.kicks += 1
        self.make_ready(job)

    # --- reserving ------------------------------------------------------------------------

    def choose_job(self, session: Session) -> StoredJob | None:
        """Choose the best ready job of all tubes that `session` watches; None if there is none.

        The caller reserves the job. It counts as a turn in the tube's rotation of waiting
        sessions, as if `session` had waited for a moment.
        """
        best: StoredJob | None = None
        for tube in session.watched:
            job = tube.next_job
            if job and (not best or (job.priority, job.id) < (best.priority, best.id)):
                best, waiting = job, tube.waiting
        if best:
            waiting.add(session.number)
            waiting.take()
        return best

    def reserve(self, session: Session, job: StoredJob) -> None:
        """Reserve a job, whatever queue it is in, for `session`, and reply with it."""
        self.dequeue(job)
        job.state = JobState.RESERVED
        job.holder = session.number
        job.reserves += 1
        self.tubes[job.tube_name].reserved_count += 1
        self.touch(session, job)
        session.reply(b"RESERVED %d %d\r\n" % (job.id, job.size), job.body, b"\r\n")

    def touch(self, session: Session, job: StoredJob) -> None:
        """Restart the time to run of a job that `session` holds."""
        job.deadline = self.now + job.ttr
        session.held.push(job.deadline, job.id, job)
        self._reserved.push(job.deadline, job.id, job)

    def deadline_is_near(self, session: Session) -> bool:
        """Return whether a job that `session` holds is within the safety margin of its ttr."""
        soonest = session.held.first_key()
        return soonest is not None and self.now >= soonest - SAFETY_MARGIN

    def wait(self, session: Session, timeout: int | None) -> None:
        """Let a reserve wait until there is a job, a deadline is near, or `timeout` seconds pass.

        With None as its timeout it waits without a limit.
        """
        times = [] if timeout is None else [self.now + timeout]
        soonest = session.held.first_key()
        if soonest is not None:
            times.append(soonest - SAFETY_MARGIN)
        if times:
            self._waiting.push(min(times), session.number, session)
        session.waiting = True
        for tube in session.watched:
            tube.waiting.add(session.number)

    def stop_waiting(self, session: Session) -> None:
        """End the wait of a reserve, if `session` has one. The caller replies to it."""
        if session.waiting:
            session.waiting = False
            self.answered.append(session)
            self._waiting.discard(session.number)
            for tube in session.watched:
                tube.waiting.remove(session.number)

    def _answer_waiting(self, tube: Tube) -> None:
        while tube.waiting and (job := tube.next_job):
            session = self.sessions[tube.waiting.take()]
            self.stop_waiting(session)
            self.reserve(session, job)

    # --- time -----------------------------------------------------------------------------

    @property
    def next_deadline(self) -> float | None:
        """Return the time at which :meth:`tick` has work to do, or None if it never has."""
        keys = (
            self._delayed.first_key(),
            self._paused.first_key(),
            self._reserved.first_key(),
            self._waiting.first_key(),
        )
        return min((key for key in keys if key is not None), default=None)

    def tick(self) -> None:
        """Read the clock, and do everything whose time has come."""
        self.now = now = self.clock()
        while (due := self._delayed.first_key()) is not None and due <= now:
            job = self._delayed.pop()
            self.tubes[job.tube_name].delayed.discard(job.id)
            self.make_ready(job)
        while (due := self._paused.first_key()) is not None and due <= now:
            tube = self._paused.pop()
            tube.pause = 0
            self._answer_waiting(tube)
        while (due := self._reserved.first_key()) is not None and due <= now:
            self._expire(self._reserved.pop())
        while (due := self._waiting.first_key()) is not None and due <= now:
            session = self._waiting.pop()
            near = self.deadline_is_near(session)
            self.stop_waiting(session)
            session.reply(b"DEADLINE_SOON\r\n" if near else b"TIMED_OUT\r\n")

    def _expire(self, job: StoredJob) -> None:
        self.total_timeouts += 1
        job.timeouts += 1
        self.dequeue(job)
        self.make_ready(job)
