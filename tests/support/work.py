"""Jobs for handlers, without a server."""

from __future__ import annotations

from typing import Any

from beanstalkt.protocol.stats import StatsJob
from beanstalkt.worker import WorkerJob

COUNTERS: StatsJob = {
    "id": 7,
    "tube": "mail",
    "state": "reserved",
    "pri": 1024,
    "age": 3,
    "delay": 0,
    "ttr": 60,
    "time-left": 59,
    "file": 0,
    "reserves": 2,
    "timeouts": 1,
    "releases": 0,
    "buries": 0,
    "kicks": 0,
}


def make_work(body: bytes = b"", **changes: Any) -> WorkerJob:
    """A job as a slot hands it out."""
    values: dict[str, Any] = {
        "tube": "mail",
        "counters": COUNTERS,
        "attempt": 2,
        "max_attempts": 10,
        "time_limit": 60.0,
        "kill_grace": 5.0,
        "server": "beanstalk://localhost:11300",
        "slot": 1,
        **changes,
    }
    return WorkerJob(7, body, **values)
