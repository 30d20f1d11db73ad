"""What stats and the lists say (section 6)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .job import State

if TYPE_CHECKING:
    from .engine import Engine
    from .job import Job
    from .tube import Tube

VERSION = "1.13+beanstalkt"
"""The version of beanstalkd that the server behaves like, and whose it is."""

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


def names(tubes: Iterable[Tube]) -> bytes:
    """A list of tubes."""
    return b"---\n" + b"".join(b"- %b\n" % tube.name for tube in tubes)


def job(engine: Engine, job: Job) -> bytes:
    """The reply to stats-job (section 6.2)."""
    timed = job.state in (State.RESERVED, State.DELAYED)
    return _dictionary(
        {
            "id": job.id,
            "tube": _quoted(job.tube.name.decode()),
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


def tube(engine: Engine, tube: Tube) -> bytes:
    """The reply to stats-tube (section 6.3)."""
    return _dictionary(
        {
            "name": _quoted(tube.name.decode()),
            **_jobs([tube]),
            "total-jobs": tube.total_jobs,
            "current-using": tube.using,
            "current-watching": tube.watching,
            "current-waiting": len(tube.waiting),
            "cmd-delete": tube.deletes,
            "cmd-pause-tube": tube.pauses,
            "pause": tube.pause,
            "pause-time-left": int(tube.paused_until - engine.now) if tube.pause else 0,
        }
    )


def server(engine: Engine) -> bytes:
    """The reply to stats (section 6.4)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    system = os.uname()
    sessions = engine.sessions
    return _dictionary(
        {
            **_jobs(engine.tubes),
            **{f"cmd-{verb}": engine.commands[verb] for verb in _COUNTED},
            "job-timeouts": engine.timeouts,
            "total-jobs": engine.total_jobs,
            "max-job-size": engine.max_job_size,
            "current-tubes": len(engine.tubes),
            "current-connections": len(sessions),
            "current-producers": sum(session.producer for session in sessions),
            "current-workers": sum(session.worker for session in sessions),
            "current-waiting": sum(session.waiting for session in sessions),
            "total-connections": engine.total_connections,
            "pid": os.getpid(),
            "version": _quoted(VERSION),
            "rusage-utime": f"{usage.ru_utime:.6f}",
            "rusage-stime": f"{usage.ru_stime:.6f}",
            "uptime": int(engine.now - engine.started),
            # There is no binlog; these are what beanstalkd says when it runs without one.
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


def _jobs(tubes: Iterable[Tube]) -> dict[str, int]:
    tubes = list(tubes)
    return {
        "current-jobs-urgent": sum(tube.urgent for tube in tubes),
        "current-jobs-ready": sum(len(tube.ready) for tube in tubes),
        "current-jobs-reserved": sum(tube.reserved for tube in tubes),
        "current-jobs-delayed": sum(len(tube.delayed) for tube in tubes),
        "current-jobs-buried": sum(len(tube.buried) for tube in tubes),
    }


def _quoted(text: str) -> str:
    return f'"{text}"'


def _dictionary(values: dict[str, int | str]) -> bytes:
    lines = [f"{key}: {value}\n" for key, value in values.items()]
    return ("---\n" + "".join(lines)).encode("utf-8", "surrogateescape")
