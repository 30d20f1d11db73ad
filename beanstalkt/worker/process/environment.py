"""The environment of commands: what they inherit, and what they are told about their job."""

from __future__ import annotations

from collections.abc import Mapping

from ..handlers.base import WorkerJob

_COUNTERS = (
    (b"BEANSTALKT_PRIORITY", "pri"),
    (b"BEANSTALKT_TTR", "ttr"),
    (b"BEANSTALKT_TIME_LEFT", "time-left"),
    (b"BEANSTALKT_AGE", "age"),
    (b"BEANSTALKT_RESERVES", "reserves"),
    (b"BEANSTALKT_TIMEOUTS", "timeouts"),
    (b"BEANSTALKT_RELEASES", "releases"),
    (b"BEANSTALKT_BURIES", "buries"),
    (b"BEANSTALKT_KICKS", "kicks"),
)

JOB_VARIABLES = frozenset(
    {
        "BEANSTALKT_JOB_ID",
        "BEANSTALKT_TUBE",
        "BEANSTALKT_ATTEMPT",
        "BEANSTALKT_MAX_ATTEMPTS",
        "BEANSTALKT_SERVER",
        "BEANSTALKT_SLOT",
        "BEANSTALKT_OUTBOX_ID",
        *(name.decode() for name, _ in _COUNTERS),
    }
)
"""The variables that tell a command about its job."""

_SYSTEMD = frozenset({b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"})


def inheritable(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return what a command inherits: all but the runner's settings and its socket to systemd."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith(b"BEANSTALKT_") and key not in _SYSTEMD
    }


def job_environment(work: WorkerJob, inherited: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the environment of the command for a job.

    :param inherited: what :func:`inheritable` returned
    """
    counters: Mapping[str, object] = work.counters
    made = {
        **inherited,
        b"BEANSTALKT_JOB_ID": b"%d" % work.id,
        b"BEANSTALKT_TUBE": work.tube.encode(),
        b"BEANSTALKT_ATTEMPT": b"%d" % work.attempt,
        b"BEANSTALKT_MAX_ATTEMPTS": b"%d" % work.max_attempts,
        b"BEANSTALKT_SERVER": work.server.encode(),
        b"BEANSTALKT_SLOT": b"%d" % work.slot,
    }
    for name, counter in _COUNTERS:
        made[name] = str(counters.get(counter, "")).encode()
    if work.outbox_id is not None:
        made[b"BEANSTALKT_OUTBOX_ID"] = b"%d" % work.outbox_id
    return made


def without_job(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment without the variables that describe the job of another runner.

    The command of a job may start a runner itself. That one must not take what its parent was
    told about the job, such as BEANSTALKT_MAX_ATTEMPTS, for its own settings.
    """
    if not environ.get("BEANSTALKT_JOB_ID"):
        return environ
    return {name: value for name, value in environ.items() if name not in JOB_VARIABLES}
