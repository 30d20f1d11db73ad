"""The queue itself: tubes, jobs, who waits, and what time does to them. No I/O."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable

from ..protocol.arguments import DEFAULT_TUBE
from .heap import Heap
from .job import Job, State
from .rotating_set import Bag
from .session import Session
from .tube import Tube

MAX_JOB_SIZE = 65535
"""Bytes; the default of ``max-job-size`` (section 3.1)."""

SAFETY_MARGIN = 1.0
"""Seconds before the end of a ttr in which a reserve is answered DEADLINE_SOON (section 8.3)."""


class Engine:
    """The state of one server.

    `clock` is the only source of time, in seconds; it must never go back. Whoever owns the
    engine calls :meth:`tick` when :attr:`next_deadline` has come, and after every call sends what
    the sessions in :attr:`unsent` have to say.
    """

    def __init__(
        self, max_job_size: int = MAX_JOB_SIZE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_job_size = max_job_size
        self.clock = clock
        self.started = self.now = clock()
        #: no new jobs (section 8.6)
        self.draining = False
        #: tells one server from the next
        self.id = secrets.token_hex(8)
        self.jobs: dict[int, Job] = {}
        self.sessions: set[Session] = set()
        #: sessions that have got replies since this list was last emptied
        self.unsent: list[Session] = []
        #: how often each command was understood, by its verb
        self.commands: Counter[str] = Counter()
        self.total_jobs = self.total_connections = self.timeouts = 0
        self._tubes: dict[bytes, Tube] = {}
        #: in the order of list-tubes
        self.tubes: Bag[Tube] = Bag()
        self._job_ids = itertools.count(1)
        self._numbers = itertools.count(1)
        self._delayed: Heap[Job] = Heap()
        self._reserved: Heap[Job] = Heap()
        self._paused: Heap[Tube] = Heap()
        self._waiting: Heap[Session] = Heap()
        self._answered: deque[Session] = deque()
        self.default_tube = self.open_tube(DEFAULT_TUBE.encode())

    # --- connections ----------------------------------------------------------------------

    def connect(self) -> Session:
        """A new connection."""
        self.total_connections += 1
        session = Session(self, next(self._numbers))
        self.sessions.add(session)
        return session

    def receive(self, session: Session, data: bytes) -> None:
        """Carry out what a client has sent."""
        self.tick()
        session.reader.feed(data)
        self.resume(session)

    def half_close(self, session: Session) -> None:
        """The client sends no more: a reserve that waits is answered TIMED_OUT (section 8.4)."""
        self.tick()
        session.half_closed = True
        if session.waiting:
            self.stop_waiting(session)
            session.reply(b"TIMED_OUT\r\n")
        self.resume(session)

    def close(self, session: Session) -> None:
        """The connection is gone: what it had reserved is ready again (section 8.4)."""
        if session not in self.sessions:
            return
        self.tick()
        self.sessions.remove(session)
        session.closing = True
        if session.incoming:
            self.forget(session.incoming)
            session.incoming = None
        self.stop_waiting(session)
        for job in list(session.held):
            self.take_back(job)
            self.make_ready(job)
        while session.watched:
            self.ignore(session, next(iter(session.watched)))
        session.using.using -= 1
        self._drop_if_unused(session.using)
        self._go_on()

    def resume(self, session: Session) -> None:
        """Carry out what `session` has still to do, and then those that this has woken."""
        session.run()
        self._go_on()

    def _go_on(self) -> None:
        # Not from where the reply was given: that is in the middle of another's command.
        while self._answered:
            self._answered.popleft().run()

    # --- tubes ----------------------------------------------------------------------------

    def find_tube(self, name: bytes) -> Tube | None:
        """The tube with that name, if there is one."""
        return self._tubes.get(name)

    def open_tube(self, name: bytes) -> Tube:
        """The tube with that name, made if need be."""
        tube = self._tubes.get(name)
        if tube is None:
            tube = self._tubes[name] = Tube(name, next(self._numbers))
            self.tubes.add(tube)
        return tube

    def use(self, session: Session, tube: Tube) -> None:
        """Let `session` put into `tube`."""
        old, session.using = session.using, tube
        tube.using += 1
        old.using -= 1
        self._drop_if_unused(old)

    def watch(self, session: Session, tube: Tube) -> None:
        """Let `session` reserve from `tube` too."""
        if tube not in session.watched:
            session.watched.add(tube)
            tube.watching += 1

    def ignore(self, session: Session, tube: Tube) -> None:
        """Let `session` no longer reserve from `tube`."""
        session.watched.remove(tube)
        tube.watching -= 1
        self._drop_if_unused(tube)

    def pause(self, tube: Tube, delay: int) -> None:
        """Give no job of `tube` to a reserve for `delay` seconds."""
        tube.pauses += 1
        tube.pause = delay
        if delay:
            tube.paused_until = self.now + delay
            self._paused.push(tube.paused_until, tube.number, tube)
        else:
            self._paused.discard(tube.number)
            self._serve(tube)

    def _drop_if_unused(self, tube: Tube) -> None:
        if tube.unused and tube is not self.default_tube:
            del self._tubes[tube.name]
            self.tubes.remove(tube)
            self._paused.discard(tube.number)

    # --- jobs -----------------------------------------------------------------------------

    def new_job(self, tube: Tube, priority: int, delay: int, ttr: int, size: int) -> Job:
        """A job whose body is still to come; it has its id and can be peeked at already."""
        job = Job(next(self._job_ids), tube, priority, delay, ttr or 1, size, self.now)
        self.jobs[job.id] = job
        tube.jobs += 1
        return job

    def put(self, job: Job) -> None:
        """The body has come."""
        self.total_jobs += 1
        job.tube.total_jobs += 1
        self.enqueue(job, job.delay)

    def forget(self, job: Job) -> None:
        """The job, which is in no queue, is no more."""
        del self.jobs[job.id]
        job.state = State.INVALID
        job.tube.jobs -= 1
        self._drop_if_unused(job.tube)

    def take_back(self, job: Job) -> None:
        """Take the job out of whatever queue it is in."""
        tube = job.tube
        if job.state is State.READY:
            tube.remove_ready(job)
        elif job.state is State.DELAYED:
            tube.delayed.discard(job.id)
            self._delayed.discard(job.id)
        elif job.state is State.BURIED:
            del tube.buried[job.id]
        elif job.holder:
            tube.reserved -= 1
            job.holder.held.discard(job.id)
            self._reserved.discard(job.id)
            job.holder = None

    def enqueue(self, job: Job, delay: int) -> None:
        """Make a job that is in no queue delayed, or ready where `delay` is 0."""
        if not delay:
            self.make_ready(job)
            return
        job.state = State.DELAYED
        job.deadline = self.now + delay
        job.tube.delayed.push(job.deadline, job.id, job)
        self._delayed.push(job.deadline, job.id, job)

    def make_ready(self, job: Job) -> None:
        """Make a job that is in no queue ready, and give it to whoever waits for it."""
        job.state = State.READY
        job.tube.add_ready(job)
        if job.tube.waiting:
            self._serve(job.tube)

    def bury(self, job: Job) -> None:
        """Bury a job that is in no queue."""
        job.state = State.BURIED
        job.buries += 1
        job.tube.buried[job.id] = job

    def kick(self, job: Job) -> None:
        """Make a buried or delayed job ready."""
        self.take_back(job)
        job.kicks += 1
        self.make_ready(job)

    # --- reserving ------------------------------------------------------------------------

    def reserve(self, session: Session, job: Job) -> None:
        """Give the job, out of whatever queue it is in, to `session`."""
        self.take_back(job)
        job.state = State.RESERVED
        job.holder = session
        job.reserves += 1
        job.tube.reserved += 1
        self.touch(job)
        session.reply(b"RESERVED %d %d\r\n" % (job.id, job.size), job.body, b"\r\n")

    def touch(self, job: Job) -> None:
        """Let the time of a reserved job begin again."""
        if job.holder:
            job.deadline = self.now + job.ttr
            job.holder.held.push(job.deadline, job.id, job)
            self._reserved.push(job.deadline, job.id, job)

    def deadline_is_near(self, session: Session) -> bool:
        """Whether a job that `session` holds is in its last second."""
        soonest = session.held.first_key()
        return soonest is not None and self.now >= soonest - SAFETY_MARGIN

    def wait(self, session: Session, timeout: int | None) -> None:
        """Answer `session` when there is a job for it, or when its time is over."""
        wakes = [] if timeout is None else [self.now + timeout]
        soonest = session.held.first_key()
        if soonest is not None:
            wakes.append(soonest - SAFETY_MARGIN)
        if wakes:
            self._waiting.push(min(wakes), session.number, session)
        session.waiting = True
        for tube in session.watched:
            tube.waiting.add(session)

    def stop_waiting(self, session: Session) -> None:
        """`session` is about to be answered, or gone."""
        if session.waiting:
            session.waiting = False
            self._answered.append(session)
            self._waiting.discard(session.number)
            for tube in session.watched:
                tube.waiting.remove(session)

    def _serve(self, tube: Tube) -> None:
        while tube.waiting and (job := tube.next_job):
            session = tube.waiting.take()
            self.stop_waiting(session)
            self.reserve(session, job)

    # --- time -----------------------------------------------------------------------------

    @property
    def next_deadline(self) -> float | None:
        """The clock's time at which :meth:`tick` has something to do; None: at no time."""
        keys = (
            self._delayed.first_key(),
            self._paused.first_key(),
            self._reserved.first_key(),
            self._waiting.first_key(),
        )
        return min((key for key in keys if key is not None), default=None)

    def tick(self) -> None:
        """Do what the clock says is due."""
        self.now = now = self.clock()
        while (due := self._delayed.first_key()) is not None and due <= now:
            job = self._delayed.pop()
            job.tube.delayed.discard(job.id)
            self.make_ready(job)
        while (due := self._paused.first_key()) is not None and due <= now:
            tube = self._paused.pop()
            tube.pause = 0
            self._serve(tube)
        while (due := self._reserved.first_key()) is not None and due <= now:
            self._expire(self._reserved.pop())
        while (due := self._waiting.first_key()) is not None and due <= now:
            session = self._waiting.pop()
            near = self.deadline_is_near(session)
            self.stop_waiting(session)
            session.reply(b"DEADLINE_SOON\r\n" if near else b"TIMED_OUT\r\n")
        self._go_on()

    def _expire(self, job: Job) -> None:
        self.timeouts += 1
        job.timeouts += 1
        self.take_back(job)
        self.make_ready(job)
