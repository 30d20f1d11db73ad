"""The data of the replies to the stats and list commands (section 6)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable

from .engine import Engine
from .stored_job import JobState, StoredJob
from .tube import Tube

VERSION = "1.13+beanstalkt"
"""The version of beanstalkd whose behaviour the server has, and the name of this package."""

_COUNTED = (
    "put",
    "peek",
    "peek-ready",
    "peek-delayed",
    "peek-buried",
    "reserve",
    "reserve-with-timeout",
    "delete",
    "release",
    "use",
    "watch",
    "ignore",
    "bury",
    "kick",
    "touch",
    "stats",
    "stats-job",
    "stats-tube",
    "list-tubes",
    "list-tube-used",
    "list-tubes-watched",
    "pause-tube",
)
"""The commands that stats counts, in its order; reserve-job and kick-job are not among them."""


def tube_list(tubes: Iterable[Tube]) -> bytes:
    """Return the names of tubes, as list-tubes and list-tubes-watched show them."""
    return b"---\n" + b"".join(b"- %b\n" % tube.name for tube in tubes)


def job_stats(engine: Engine, job: StoredJob) -> bytes:
    """Return the statistics of a job, as stats-job shows them (section 6.2)."""
    timed = job.state in (JobState.RESERVED, JobState.DELAYED)
    return _dictionary(
        {
            "id": job.id,
            "tube": _quoted(job.tube_name.decode()),
            "state": job.state.value,
            "pri": job.priority,
            "age": int(engine.now - job.created),
            "delay": job.delay,
            "ttr": job.ttr,
            "time-left": int(job.deadline - engine.now) if timed else 0,
            "file": 0,
            "reserves": job.reserves,
            "timeouts": job.timeouts,
            "releases": job.releases,
            "buries": job.buries,
            "kicks": job.kicks,
        }
    )


def tube_stats(engine: Engine, tube: Tube) -> bytes:
    """Return the statistics of a tube, as stats-tube shows them (section 6.3)."""
    return _dictionary(
        {
            "name": _quoted(tube.name.decode()),
            **_job_counts([tube]),
            "total-jobs": tube.total_jobs,
            "current-using": tube.user_count,
            "current-watching": tube.watcher_count,
            "current-waiting": len(tube.waiting),
            "cmd-delete": tube.deletes,
            "cmd-pause-tube": tube.pauses,
            "pause": tube.pause,
            "pause-time-left": int(tube.paused_until - engine.now) if tube.pause else 0,
        }
    )


def server_stats(engine: Engine) -> bytes:
    """Return the statistics of the server, as stats shows them (section 6.4)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    system = os.uname()
    sessions = engine.sessions.values()
    return _dictionary(
        {
            **_job_counts(engine.tube_order),
            **{f"cmd-{verb}": engine.command_counts[verb] for verb in _COUNTED},
            "job-timeouts": engine.total_timeouts,
            "total-jobs": engine.total_jobs,
            "max-job-size": engine.max_job_size,
            "current-tubes": len(engine.tubes),
            "current-connections": len(sessions),
            "current-producers": sum(session.is_producer for session in sessions),
            "current-workers": sum(session.is_worker for session in sessions),
            "current-waiting": sum(session.waiting for session in sessions),
            "total-connections": engine.total_connections,
            "pid": os.getpid(),
            "version": _quoted(VERSION),
            "rusage-utime": f"{usage.ru_utime:.6f}",
            "rusage-stime": f"{usage.ru_stime:.6f}",
            "uptime": int(engine.now - engine.started),
            # The server has no binlog. A beanstalkd that runs without one reports these values.
            "binlog-oldest-index": 0,
            "binlog-current-index": 0,
            "binlog-records-migrated": 0,
            "binlog-records-written": 0,
            "binlog-max-size": 10485760,
            "draining": "true" if engine.draining else "false",
            "id": engine.id,
            "hostname": _quoted(system.nodename),
            "os": _quoted(system.version),
            "platform": _quoted(system.machine),
        }
    )


def _job_counts(tubes: Iterable[Tube]) -> dict[str, int]:
    tubes = list(tubes)
    return {
        "current-jobs-urgent": sum(tube.urgent_count for tube in tubes),
        "current-jobs-ready": sum(len(tube.ready) for tube in tubes),
        "current-jobs-reserved": sum(tube.reserved_count for tube in tubes),
        "current-jobs-delayed": sum(len(tube.delayed) for tube in tubes),
        "current-jobs-buried": sum(len(tube.buried) for tube in tubes),
    }


def _quoted(text: str) -> str:
    return f'"{text}"'


def _dictionary(values: dict[str, int | str]) -> bytes:
    lines = [f"{key}: {value}\n" for key, value in values.items()]
    return ("---\n" + "".join(lines)).encode("utf-8", "surrogateescape")
