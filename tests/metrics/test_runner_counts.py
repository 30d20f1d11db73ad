from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from beanstalkt.metrics.runner import RunnerCollector
from beanstalkt.metrics.runner_counts import KEPT_AFTER_RETIRED, OVERDUE_GRACE, RunnerCounts
from beanstalkt.metrics.runner_status import status_of
from beanstalkt.worker.events import (
    HistoryDropped,
    JobFinished,
    JobStarted,
    JobTakenBack,
    ReloadFailed,
    RunnerPaused,
    SlotReconnected,
    TubeRetired,
    TubeStarted,
)
from beanstalkt.worker.policy.decision import BURY, DELETE, Action, SettleResult
from beanstalkt.worker.policy.outcome import Kind
from tests.support.clock import Clock
from tests.support.promtool import check_metrics

SERVER = "beanstalk://localhost:11300"
TUBE = {"server": SERVER, "tube": "mail"}


class Counted:
    """Counts under a clock of the test's, and the values that Prometheus would get."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counts = RunnerCounts(self.clock)
        self._registry = CollectorRegistry()
        self._registry.register(RunnerCollector(self.counts))

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"beanstalkt_runner_{name}", {**TUBE, **labels})

    def of_runner(self, name: str) -> float | None:
        return self._registry.get_sample_value(f"beanstalkt_runner_{name}")

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def start(self, job_id: int = 1, **changes: Any) -> None:
        self.counts(JobStarted(SERVER, "mail", job_id, **{"attempt": 1, "slot": 1, **changes}))

    def finish(
        self,
        job_id: int = 1,
        kind: Kind = Kind.SUCCESS,
        action: Action | None = DELETE,
        settled: SettleResult = SettleResult.DONE,
        seconds: float = 0.2,
        attempt: int = 1,
    ) -> None:
        self.counts(
            JobFinished(SERVER, "mail", job_id, attempt, kind, action, settled, seconds, "", {})
        )


def test_jobs_are_counted_by_outcome_and_by_what_was_done_with_them() -> None:
    counted = Counted()
    counted.finish()
    counted.finish()
    counted.finish(kind=Kind.TIMEOUT, action=Action(BURY.verb), attempt=3)
    counted.finish(kind=Kind.LOST, action=None, settled=SettleResult.LOST)
    counted.finish(kind=Kind.RETRY, action=BURY, settled=SettleResult.BURIED)
    assert counted.value("jobs_total", outcome="success", action="delete") == 2
    assert counted.value("jobs_total", outcome="timeout", action="bury") == 1
    assert counted.value("jobs_total", outcome="lost", action="none") == 1
    assert counted.value("jobs_total", outcome="retry", action="bury") == 1
    assert counted.value("job_attempts_bucket", le="2") == 4
    assert counted.value("job_attempts_count") == 5


def test_seconds_are_in_cumulative_buckets() -> None:
    counted = Counted()
    for seconds in (0.001, 0.025, 0.2, 7200):
        counted.finish(seconds=seconds)
    bounds = ("0.005", "0.025", "0.1", "0.5", "3600", "+Inf")
    found = [counted.value("job_seconds_bucket", le=bound) for bound in bounds]
    assert found == [1, 2, 2, 3, 3, 4]
    assert counted.value("job_seconds_sum") == 0.001 + 0.025 + 0.2 + 7200


def test_slots_and_the_oldest_job() -> None:
    counted = Counted()
    counted.counts(TubeStarted(SERVER, "mail", 3, "cat", {}))
    assert (counted.value("slots"), counted.value("slots_busy")) == (3, 0)
    assert counted.of_runner("oldest_job_seconds") == 0
    counted.start(1)
    counted.clock.now += 5
    counted.start(2)
    assert counted.value("slots_busy") == 2
    assert counted.of_runner("oldest_job_seconds") == 5
    counted.finish(1)
    assert counted.of_runner("oldest_job_seconds") == 0
    assert counted.value("slots_busy") == 1


def test_a_job_whose_handler_goes_on_is_overdue() -> None:
    counted = Counted()
    counted.start(7, stopped_after=10.0)
    counted.start(8)  # nobody knows when
    counted.clock.now += 10 + OVERDUE_GRACE
    assert counted.counts.overdue() == []
    counted.clock.now += 1
    assert counted.counts.overdue() == [("mail", 7)]
    assert counted.of_runner("jobs_overdue") == 1
    counted.finish(7)
    assert counted.counts.overdue() == []


def test_what_becomes_of_connections_and_of_the_runner() -> None:
    counted = Counted()
    counted.counts(JobTakenBack(SERVER, "mail", 1))
    counted.counts(SlotReconnected(SERVER, "mail", 1))
    counted.counts(SlotReconnected(SERVER, "mail", 2))
    counted.counts(RunnerPaused(0))
    counted.counts(ReloadFailed((), "x"))
    assert counted.value("reservations_taken_back_total") == 1
    assert counted.value("reconnects_total") == 2
    assert counted.of_runner("paused") == 1
    assert 'reloads_total{result="failed"} 1' in counted.text()


def test_what_the_history_has_dropped_is_counted() -> None:
    counted = Counted()
    assert counted.of_runner("history_dropped_total") == 0
    counted.counts(HistoryDropped(7, "it does not answer"))
    counted.counts(HistoryDropped(3, ""))
    assert counted.of_runner("history_dropped_total") == 10


def test_a_retired_tube_is_reported_until_it_was_scraped_and_then_forgotten() -> None:
    counted = Counted()
    counted.counts(TubeStarted(SERVER, "mail", 3, "cat", {}))
    counted.start()
    counted.counts(TubeRetired(SERVER, "mail"))
    counted.clock.now += KEPT_AFTER_RETIRED + 1
    assert counted.value("slots") == 0, "a job still runs"
    counted.finish()
    assert counted.value("slots") is None
    assert "mail" not in counted.text()


def test_promtool_finds_nothing_wrong() -> None:
    counted = Counted()
    counted.counts(TubeStarted(SERVER, "mail", 3, "cat", {}))
    counted.start()
    counted.finish()
    check_metrics(counted.text())


def test_the_status_of_a_runner_has_its_tubes_and_jobs_but_no_bodies() -> None:
    counted = Counted()
    counted.counts(TubeStarted(SERVER, "mail", 3, "cat", {}))
    counted.start(1)
    counted.clock.now += 2
    counted.start(2, slot=2, attempt=4)
    counted.finish(3, kind=Kind.TIMEOUT, action=BURY)
    status = status_of(counted.counts)
    assert [job["id"] for job in status["running"]] == [1, 2], "the oldest first"
    assert status["running"][0]["seconds"] == 2
    (tube,) = status["tubes"]
    assert (tube["slots"], tube["busy"], tube["handler"]) == (3, 2, "cat")
    assert tube["finished"] == [{"outcome": "timeout", "action": "bury", "jobs": 1}]
    assert status["state"] == "running"


def test_only_the_events_that_are_counted_are_taken() -> None:
    counts = RunnerCounts()
    assert JobStarted in counts.events
    for event in counts.events:
        assert event in counts._takers
