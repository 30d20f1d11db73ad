"""The metrics of a runner for Prometheus: its counts as families of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from tornado.netutil import bind_sockets

from .health import Health
from .runner_counts import Histogram, RunnerCounts, TubeCounts
from .runner_status import status_of
from .web import MetricsServer

LABELS = ("server", "tube")

_GAUGES: dict[str, tuple[str, Callable[[TubeCounts], float]]] = {
    "slots": ("Jobs of the tube that may run at the same time.", lambda each: each.slots),
    "slots_busy": ("Jobs of the tube that run.", lambda each: len(each.running)),
}

_COUNTERS: dict[str, tuple[str, Callable[[TubeCounts], float]]] = {
    "reservations_taken_back": (
        "Jobs that were reserved again after their connection was lost.",
        lambda each: each.taken_back,
    ),
    "reconnects": ("Connections of slots that replaced a lost one.", lambda each: each.reconnects),
    "slot_restarts": ("Slots that ended by a defect.", lambda each: each.slot_restarts),
    "loop_blocked": (
        "Reports that the code of a job kept the event loop for too long.",
        lambda each: each.loop_blocked,
    ),
}

_HISTOGRAMS: dict[str, tuple[str, Callable[[TubeCounts], Histogram]]] = {
    "job_seconds": (
        "Seconds from the reservation of a job until it was settled.",
        lambda each: each.seconds,
    ),
    "job_attempts": ("Which attempt at its job ended.", lambda each: each.attempts),
}


class RunnerMetrics:
    """Serve the metrics of a runner: ``async with`` it while the runner runs.

    :param host: the address to listen on
    :param port: 0 for any free one

    Raises OSError if the address is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        #: to be an observer of the runner
        self.counts = RunnerCounts()
        self._registry = CollectorRegistry()
        self._registry.register(RunnerCollector(self.counts))
        ProcessCollector(registry=self._registry)
        self._health = Health(self.counts)
        self._sockets = bind_sockets(port, host)
        #: the port that was bound
        self.port: int = self._sockets[0].getsockname()[1]
        self._web = MetricsServer(
            self._render, check=self._health.problems, status=partial(status_of, self.counts)
        )

    async def _render(self) -> str:
        return generate_latest(self._registry).decode()

    async def __aenter__(self) -> None:
        self._web.serve(self._sockets)

    async def __aexit__(self, *_: object) -> None:
        await self._web.close()
        await self._health.close()


class RunnerCollector(Collector):
    """Make families of metrics of the counts of a runner, each time that they are scraped."""

    def __init__(self, counts: RunnerCounts) -> None:
        self._counts = counts

    def describe(self) -> list[Metric]:
        """Return nothing: the names are not looked at before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        counts, tubes = self._counts, self._counts.tubes()
        info = InfoMetricFamily("beanstalkt_runner", "The runner.")
        info.add_metric([], {"version": version("beanstalkt")})
        yield info
        yield _gauge("start_time_seconds", "When it started, since 1970.", counts.started_at)
        yield _gauge("paused", "Whether it was told to take no jobs.", counts.paused)
        yield _gauge("stopping", "Whether it was told to stop.", bool(counts.stopping))
        yield _gauge("oldest_job_seconds", "For how long the oldest job runs.", counts.oldest())
        yield _gauge("jobs_overdue", "Jobs that run past their limit.", len(counts.overdue()))
        reloads = CounterMetricFamily(
            _name("reloads"), "Reloads of the configuration.", labels=["result"]
        )
        for result, number in counts.reloads.items():
            reloads.add_metric([result], number)
        yield reloads
        dropped = CounterMetricFamily(
            _name("history_dropped"), "Events of jobs that the history has not written."
        )
        dropped.add_metric([], counts.history_dropped)
        yield dropped
        jobs = CounterMetricFamily(
            _name("jobs"), "Jobs that ended.", labels=[*LABELS, "outcome", "action"]
        )
        for key, each in tubes.items():
            for how, number in each.finished.items():
                jobs.add_metric([*key, *how], number)
        yield jobs
        yield from _by_tube(tubes)


def _by_tube(tubes: dict[tuple[str, str], TubeCounts]) -> Iterator[Metric]:
    for name, (text, number) in _GAUGES.items():
        gauge = GaugeMetricFamily(_name(name), text, labels=LABELS)
        for key, each in tubes.items():
            gauge.add_metric(key, number(each))
        yield gauge
    for name, (text, number) in _COUNTERS.items():
        counter = CounterMetricFamily(_name(name), text, labels=LABELS)
        for key, each in tubes.items():
            counter.add_metric(key, number(each))
        yield counter
    for name, (text, values) in _HISTOGRAMS.items():
        histogram = HistogramMetricFamily(_name(name), text, labels=LABELS)
        for key, each in tubes.items():
            histogram.add_metric(key, _buckets(values(each)), values(each).total)
        yield histogram


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the numbers of values up to each bound, as Prometheus counts them."""
    buckets, so_far = [], 0
    for bound, number in zip((*histogram.bounds, None), histogram.counts, strict=True):
        so_far += number
        buckets.append(("+Inf" if bound is None else f"{bound:g}", float(so_far)))
    return buckets


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_name(name), text, value=float(value))


def _name(name: str) -> str:
    return f"beanstalkt_runner_{name}"
