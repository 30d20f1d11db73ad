"""The metrics of servers for Prometheus: snapshots as families of metrics.

Those of their tubes are in :mod:`beanstalkt.metrics.tubes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ..admin import Snapshot
from ..admin.record import STATES

_SERVER_GAUGES = {
    "uptime_seconds": ("Seconds since the server was started.", "uptime"),
    "urgent_jobs": ("Ready jobs with a priority below 1024.", "current-jobs-urgent"),
    "connections": ("Open connections.", "current-connections"),
    "producers": ("Open connections that have put a job.", "current-producers"),
    "workers": ("Open connections that have reserved a job.", "current-workers"),
    "waiting": ("Open connections that wait for a job.", "current-waiting"),
    "max_job_size_bytes": ("The largest body that a job may have.", "max-job-size"),
    "binlog_max_size_bytes": ("The size of a file of the binlog at most.", "binlog-max-size"),
}

_SERVER_COUNTERS = {
    "jobs_put": ("Jobs that were put.", "total-jobs"),
    "job_timeouts": ("Jobs that were not settled in their time to run.", "job-timeouts"),
    "connections_accepted": ("Connections that were accepted.", "total-connections"),
    "binlog_records_written": ("Records written to the binlog.", "binlog-records-written"),
    "binlog_records_migrated": ("Records moved within the binlog.", "binlog-records-migrated"),
}


class ServerCollector(Collector):
    """Make families of metrics of the latest snapshots, each time that they are scraped.

    A server that is not up has only ``beanstalkd_up 0``.

    :param latest: returns the snapshot of each server, by the name for the label ``server``; None
        before there is one
    """

    def __init__(self, latest: Callable[[], Mapping[str, Snapshot | None]]) -> None:
        self._latest = latest

    def describe(self) -> list[Metric]:
        """Return nothing: the names are not looked at before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all servers and of their tubes, family by family."""
        latest = self._latest()
        up = GaugeMetricFamily(
            "beanstalkd_up",
            "Whether the server answered completely and in time.",
            labels=["server"],
        )
        for name, snapshot in latest.items():
            up.add_metric([name], snapshot is not None and snapshot.up)
        yield up
        found = {name: each for name, each in latest.items() if each is not None and each.up}
        yield from _servers(found)


def _servers(found: Mapping[str, Snapshot]) -> Iterator[Metric]:
    info = InfoMetricFamily("beanstalkd", "The server.", labels=["server"])
    jobs = _gauge("jobs", "Jobs by state.", ["server", "state"])
    commands = _counter("commands", "Commands that the server got.", ["server", "command"])
    cpu = _counter("cpu_seconds", "Time of the processor.", ["server", "mode"])
    took = _gauge("scrape_seconds", "Seconds that it took to ask the server.", ["server"])
    draining = _gauge("draining", "Whether the server takes no new jobs.", ["server"])
    tubes = _gauge("tubes", "Tubes of the server.", ["server"])
    left_out = _gauge("tubes_left_out", "Tubes that a limit keeps out of this.", ["server"])
    for name, snapshot in found.items():
        stats: Mapping[str, Any] = snapshot.stats
        info.add_metric([name], {"version": str(stats.get("version", ""))})
        for state in STATES:
            jobs.add_metric([name, state], stats.get(f"current-jobs-{state}", 0))
        for key, value in stats.items():
            if key.startswith("cmd-"):
                commands.add_metric([name, key.removeprefix("cmd-")], value)
        cpu.add_metric([name, "user"], stats.get("rusage-utime", 0))
        cpu.add_metric([name, "system"], stats.get("rusage-stime", 0))
        took.add_metric([name], snapshot.took)
        draining.add_metric([name], bool(stats.get("draining")))
        tubes.add_metric([name], snapshot.tube_count)
        left_out.add_metric([name], snapshot.left_out)
    yield from (info, jobs, commands, cpu, took, draining, tubes, left_out)
    for make, table in ((_gauge, _SERVER_GAUGES), (_counter, _SERVER_COUNTERS)):
        for metric, (text, key) in table.items():
            family = make(metric, text, ["server"])
            for name, snapshot in found.items():
                number: Any = snapshot.stats.get(key)
                if number is not None:
                    family.add_metric([name], number)
            yield family


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"beanstalkd_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"beanstalkd_{name}", text, labels=labels)
