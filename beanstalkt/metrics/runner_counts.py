"""Counts what happens in a runner, by its events. Knows nothing of Prometheus."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..worker.events import (
    Event,
    HistoryDropped,
    JobFinished,
    JobStarted,
    JobTakenBack,
    LoopBlocked,
    ReloadFailed,
    ReloadFinished,
    RunnerPaused,
    RunnerReady,
    RunnerResumed,
    RunnerStopping,
    SlotReconnected,
    SlotRestarted,
    TubeRetired,
    TubeStarted,
)
from ..worker.policy.decision import SettleResult

SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""The upper bounds, in seconds, by which the times of jobs are counted."""

ATTEMPTS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""The upper bounds by which the numbers of attempts are counted."""

KEPT_AFTER_RETIRED = 600.0
"""Seconds for which a tube is still reported that the runner takes no more jobs from.

Long enough for every scrape to see its last numbers; with all tubes, they come and go.
"""


OVERDUE_GRACE = 60.0
"""Seconds after which a job that should have been stopped counts as overdue.

Until then it may be settled late, because the server is out of reach.
"""


class Histogram:
    """Count values by upper bounds.

    :ivar counts: of the values up to each bound and above the one before; the last has the rest
    :ivar total: the sum of all values
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True)
class Running:
    """Hold what is known of a job that runs. Times are of the steady clock.

    :ivar overdue_at: when its handler should have been stopped, its grace included
    """

    id: int
    slot: int
    attempt: int
    started: float
    overdue_at: float


@dataclass
class TubeCounts:
    """Hold the counts of one tube of a runner.

    :ivar slots: jobs at the same time at most; 0: no more are taken
    :ivar running: the jobs that run, by id
    :ivar finished: jobs by outcome and by what was done with them
    :ivar servers: URLs of the servers that jobs are taken from, by their names
    :ivar retired: when the runner stopped to take jobs; None: it takes them
    """

    slots: int = 0
    handler: str = ""
    servers: Mapping[str, str] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    finished: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    attempts: Histogram = field(default_factory=lambda: Histogram(ATTEMPTS))
    taken_back: int = 0
    reconnects: int = 0
    slot_restarts: int = 0
    loop_blocked: int = 0
    retired: float | None = None


class RunnerCounts:
    """Observe a runner, and hold its counts.

    :param clock: seconds of a steady clock
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        #: when the runner was started, in seconds since 1970
        self.started_at = time.time()
        self.paused = False
        #: whether every slot has waited for jobs once
        self.ready = False
        #: how the runner stops; empty: it does not
        self.stopping = ""
        #: reloads of the configuration that succeeded and failed
        self.reloads = {"done": 0, "failed": 0}
        #: events of jobs that the history has not written
        self.history_dropped = 0
        self._tubes: dict[tuple[str, str], TubeCounts] = {}
        self._takers: dict[type[Event], Callable[..., None]] = {
            JobStarted: self._job_started,
            JobFinished: self._job_finished,
            JobTakenBack: self._taken_back,
            SlotReconnected: self._reconnected,
            SlotRestarted: self._slot_restarted,
            LoopBlocked: self._loop_blocked,
            HistoryDropped: self._history_dropped,
            TubeStarted: self._tube_started,
            TubeRetired: self._tube_retired,
            RunnerPaused: self._runner_paused,
            RunnerResumed: self._runner_resumed,
            RunnerReady: self._runner_ready,
            RunnerStopping: self._runner_stopping,
            ReloadFinished: self._reloaded,
            ReloadFailed: self._reload_failed,
        }
        #: what this observes
        self.events = frozenset(self._takers)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        self._takers[type(event)](event)

    def tubes(self) -> dict[tuple[str, str], TubeCounts]:
        """Return the counts of each tube by server and name, without those long retired."""
        since = self.clock() - KEPT_AFTER_RETIRED
        for key, counts in list(self._tubes.items()):
            if counts.retired is not None and counts.retired < since and not counts.running:
                del self._tubes[key]
        return self._tubes

    def oldest(self) -> float:
        """Return the seconds for which the oldest job has run; 0: none runs."""
        started = [
            job.started for counts in self._tubes.values() for job in counts.running.values()
        ]
        return self.clock() - min(started) if started else 0.0

    def servers(self) -> list[dict[str, str]]:
        """Return each group of servers that tubes take jobs from, once: URLs by name."""
        found: list[dict[str, str]] = []
        for each in self._tubes.values():
            group = dict(each.servers)
            if each.slots and group not in found:
                found.append(group)
        return found

    def overdue(self) -> list[tuple[str, int]]:
        """Return tube and id of the jobs whose handlers go on although they were stopped."""
        now = self.clock()
        return [
            (tube, job.id)
            for (_, tube), counts in self._tubes.items()
            for job in counts.running.values()
            if job.overdue_at < now
        ]

    # --- events ---

    def _counts(self, server: str, tube: str) -> TubeCounts:
        counts = self._tubes.get((server, tube))
        if counts is None:
            counts = self._tubes[server, tube] = TubeCounts()
        return counts

    def _job_started(self, event: JobStarted) -> None:
        now = self.clock()
        self._counts(event.server, event.tube).running[event.id] = Running(
            event.id, event.slot, event.attempt, now, now + event.stopped_after + OVERDUE_GRACE
        )

    def _job_finished(self, event: JobFinished) -> None:
        counts = self._counts(event.server, event.tube)
        counts.running.pop(event.id, None)
        counts.finished[event.outcome.value, _action(event)] += 1
        counts.seconds.add(event.seconds)
        counts.attempts.add(event.attempt)

    def _taken_back(self, event: JobTakenBack) -> None:
        self._counts(event.server, event.tube).taken_back += 1

    def _reconnected(self, event: SlotReconnected) -> None:
        self._counts(event.server, event.tube).reconnects += 1

    def _slot_restarted(self, event: SlotRestarted) -> None:
        self._counts(event.server, event.tube).slot_restarts += 1

    def _history_dropped(self, event: HistoryDropped) -> None:
        self.history_dropped += event.count

    def _loop_blocked(self, event: LoopBlocked) -> None:
        self._counts(event.server, event.tube).loop_blocked += 1

    def _tube_started(self, event: TubeStarted) -> None:
        counts = self._counts(event.server, event.tube)
        counts.slots, counts.handler, counts.retired = event.workers, event.handler, None
        counts.servers = event.servers or {event.server: event.server}

    def _tube_retired(self, event: TubeRetired) -> None:
        counts = self._counts(event.server, event.tube)
        counts.slots, counts.retired = 0, self.clock()

    def _runner_paused(self, _: RunnerPaused) -> None:
        self.paused = True

    def _runner_resumed(self, _: RunnerResumed) -> None:
        self.paused = False

    def _runner_ready(self, _: RunnerReady) -> None:
        self.ready = True

    def _runner_stopping(self, event: RunnerStopping) -> None:
        self.stopping = event.how

    def _reloaded(self, _: ReloadFinished) -> None:
        self.reloads["done"] += 1

    def _reload_failed(self, _: ReloadFailed) -> None:
        self.reloads["failed"] += 1


def _action(event: JobFinished) -> str:
    """Return what was done with a job, in one word."""
    if event.settled in (SettleResult.DONE, SettleResult.PRESUMED) and event.action is not None:
        return event.action.verb.value
    return "bury" if event.settled is SettleResult.BURIED else "none"
