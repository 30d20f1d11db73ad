"""What a runner reports while it works: about its jobs, and about itself.

A runner hands each event to its observers: the log, the line of progress, metrics, a history. An
observer is any callable that takes an event::

    def count(event: Event) -> None:
        if isinstance(event, JobFinished):
            ...

    Worker(server, tube, handler, observers=[count])

The runner calls it on its event loop, so it must return at once. An observer that may wait, for a
database or a disk, has an attribute ``blocking = True``: it is called in a thread of its own, in
order, through a bounded queue (see :mod:`beanstalkt.worker.observers`). An observer can neither
change nor break a job: events are copies, and what an observer raises is reported and dropped.
JobFinished is published after the job was settled, so no observer delays that either.

An observer with an attribute ``events``, such as a set of types, gets only events of these types;
any other should ignore events of types that it does not know, for later versions may add some.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .policy.decision import Action, SettleResult
from .policy.outcome import Kind

# Not frozen: to make a frozen one takes three times as long, and two are made for each job.


@dataclass(slots=True)
class Event:
    """Something that happened in a runner."""


@dataclass(slots=True)
class JobEvent(Event):
    """Something that happened to a job. Only `server` and `id` together identify the job.

    :ivar server: name of the server that has the job; its URL if it was given no name
    :ivar tube: from which it was reserved
    """

    server: str
    tube: str
    id: int


@dataclass(slots=True)
class JobStarted(JobEvent):
    """A handler starts to work on a job.

    :ivar attempt: which attempt at the job this is, from 1
    :ivar slot: the number of the slot among those of the tube, from 1
    :ivar stopped_after: seconds by which the handler has been stopped, if it can be: its time
        limit, and the grace after that
    :ivar outbox_id: id of the row of the outbox that the job comes from; None: from elsewhere
    :ivar server_run: the server's own ``id``, another one after each restart; empty unless an
        observer has an attribute ``wants_server_run = True``
    """

    attempt: int
    slot: int
    stopped_after: float = math.inf
    outbox_id: int | None = None
    server_run: str = ""


@dataclass(slots=True)
class JobFinished(JobEvent):
    """A job was settled, or was lost. No handler had started it if its outcome is EXHAUSTED.

    :ivar attempt: which attempt at the job this was, from 1
    :ivar outcome: how the handler's work ended
    :ivar action: what the policy chose to do with the job; None: nothing, as it was lost
    :ivar settled: how carrying out that action ended
    :ivar seconds: since the job was reserved
    :ivar error: of the handler, one or two lines; empty after a success
    :ivar details: what else the handler reported, each a str, a number or None
    :ivar outbox_id: as in `JobStarted`
    :ivar server_run: as in `JobStarted`
    :ivar attempts_left: attempts that the job may still have; None: there is no limit
    """

    attempt: int
    outcome: Kind
    action: Action | None
    settled: SettleResult
    seconds: float
    error: str
    details: Mapping[str, object]
    outbox_id: int | None = None
    server_run: str = ""
    attempts_left: int | None = None


@dataclass(slots=True)
class JobOutput(JobEvent):
    """A command has written a line, which its tube's ``show_output`` asks to show.

    :ivar stream: ``stdout`` or ``stderr``
    :ivar line: without its end; a long line comes in pieces
    """

    stream: str
    line: str


@dataclass(slots=True)
class JobTakenBack(JobEvent):
    """A job that was lost with its connection is reserved again."""


@dataclass(slots=True)
class JobNotTakenBack(JobEvent):
    """The server refused to give back a job that was lost with its connection."""

    error: Exception


@dataclass(slots=True)
class JobNotTouched(JobEvent):
    """The server refused to prolong a reservation. The runner tries again."""

    error: Exception


@dataclass(slots=True)
class JobNotSettled(JobEvent):
    """The server refused to settle a job. Until it restarts, no worker can reach the job."""

    error: Exception


@dataclass(slots=True)
class LoopBlocked(JobEvent):
    """The code of a job has kept the event loop, and so all other jobs, for too long.

    Too long is a third of the job's ttr: that often the runner must touch each job that it holds.
    This is published at most once in ``WorkerTiming.blocking_report_interval`` for each tube.

    :ivar handler: what the handler says it runs
    :ivar seconds: for which no other code ran
    :ivar ttr: of the job, in seconds
    """

    handler: str
    seconds: float
    ttr: int


@dataclass(slots=True)
class HistoryDropped(Event):
    """Events of jobs were not written into the database of the history.

    :ivar count: how many, since the last such event
    :ivar reason: what the database said, in one line; empty if it is only too slow
    """

    count: int
    reason: str


@dataclass(slots=True)
class RunnerStarting(Event):
    """The runner is about to connect for the first time.

    :ivar server: URL; or a list of several servers, ``NAME=URL`` each
    :ivar server_place: what has named the server, such as a flag or a line of the configuration
        file; "the default" if nothing has; empty if a program has
    """

    server: str
    server_place: str


@dataclass(slots=True)
class RunnerReady(Event):
    """Every slot waits for jobs.

    :ivar server: name, or the URL if it has none; several names with spaces in between
    :ivar tubes: number of tubes
    :ivar slots: number of slots, in all tubes
    """

    server: str
    tubes: int
    slots: int


@dataclass(slots=True)
class RunnerPaused(Event):
    """The runner reserves no jobs until it is resumed.

    :ivar running: number of jobs that are running
    """

    running: int


@dataclass(slots=True)
class RunnerResumed(Event):
    """The runner reserves jobs again."""


@dataclass(slots=True)
class RunnerStopping(Event):
    """The runner begins to stop, or stops faster.

    :ivar how: ``draining`` finishes the jobs that run, ``stopping`` cancels them and releases
        the jobs, ``killing`` does not wait for them
    :ivar running: number of jobs that are running
    """

    how: str
    running: int


@dataclass(slots=True)
class RunnerStopped(Event):
    """The runner has ended.

    :ivar running: number of jobs that it left running, because they could not be cancelled
    """

    running: int


@dataclass(slots=True)
class ReloadStarted(Event):
    """The runner reads its configuration again."""


@dataclass(slots=True)
class ReloadFinished(Event):
    """The runner works by the configuration that it has read.

    :ivar tubes: number of tubes
    """

    tubes: int


@dataclass(slots=True)
class ReloadFailed(Event):
    """The configuration is wrong, or a handler cannot start; the runner keeps the old one.

    :ivar problems: in the configuration, a line for each; or none
    :ivar reason: in one line
    """

    problems: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class ReloadRefused(Event):
    """There is no configuration file to read again, or the runner is about to end."""


@dataclass(slots=True)
class TubeStarted(Event):
    """The runner starts to take jobs from a tube.

    :ivar server: name, or the URL if it has none; several names with spaces in between, as in each
        event about a tube or a slot that works for several
    :ivar workers: number of slots
    :ivar handler: what the handler says it runs
    :ivar policy: what becomes of jobs, as option and value
    :ivar servers: URLs of the servers by their names
    """

    server: str
    tube: str
    workers: int
    handler: str
    policy: Mapping[str, object]
    servers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class TubeRetired(Event):
    """The runner takes no more jobs from a tube; those that run are finished."""

    server: str
    tube: str


@dataclass(slots=True)
class TubeScanFailed(Event):
    """The server did not list its tubes. The runner asks again after a while."""

    server: str
    error: Exception


@dataclass(slots=True)
class SlotRestarted(Event):
    """A slot ended by a defect, or because its task was cancelled, and is started again.

    :ivar slot: its number among the slots of the tube, from 1
    :ivar delay: seconds until it is started
    """

    server: str
    tube: str
    slot: int
    error: BaseException
    delay: float


@dataclass(slots=True)
class SlotReconnected(Event):
    """A slot has a new connection in the place of one that was lost.

    :ivar slot: its number among the slots of the tube, from 1
    """

    server: str
    tube: str
    slot: int


@dataclass(slots=True)
class HandlerUnavailable(Event):
    """No job of a tube can be run now, and a slot reserves none until that has changed.

    :ivar error: says why
    """

    server: str
    tube: str
    error: Exception


@dataclass(slots=True)
class HandlerNotClosed(Event):
    """The handler of a tube raised an exception when it was closed."""

    tube: str
    error: BaseException


Observer = Callable[[Event], object]
"""A callable that takes events; it may have the attributes ``blocking`` and ``events``."""
