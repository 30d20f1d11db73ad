"""The table of options: those of every tube, and those of the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..handlers.base import Option
from ..policy.decision import BURY, RELEASE, Action, Policy
from ..policy.retry import Backoff
from . import values

_ACTION = "bury, delete, release or release:SECONDS"

COMMON = (
    Option("workers", values.workers, "jobs of a tube at the same time (1)", "NUMBER", default=1),
    Option(
        "timeout",
        values.duration,
        "seconds that a job may take (the job's ttr); the job is kept reserved so long",
        "SECONDS",
    ),
    Option(
        "kill_grace",
        values.seconds,
        "seconds between SIGTERM and SIGKILL (5)",
        "SECONDS",
        default=5.0,
    ),
    Option(
        "max_attempts",
        values.whole(0),
        "how often a job is reserved before it is buried without running; 0: no limit (10)",
        "NUMBER",
        default=10,
    ),
    Option(
        "on_timeout",
        values.action,
        f"what becomes of a job that took too long: {_ACTION} (release)",
        "ACTION",
        default=RELEASE,
    ),
    Option(
        "on_temporary_fail",
        values.action,
        f"what becomes of a job after exit status 2: {_ACTION} (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "on_permanent_fail",
        values.action,
        f"what becomes of a job after exit status 1: {_ACTION} (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "on_unknown_fail",
        values.action,
        f"what becomes of a job after any other exit status or a signal: {_ACTION} (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "delay",
        values.whole_seconds,
        "seconds that a released job waits (60)",
        "SECONDS",
        default=60,
    ),
    Option(
        "backoff",
        values.backoff,
        "fixed, or exponential: the delay doubles with each attempt, with jitter on top (fixed)",
        "KIND",
        default=False,
    ),
    Option(
        "max_delay",
        values.whole_seconds,
        "seconds that a delay grows to at most (3600)",
        "SECONDS",
        default=3600,
    ),
)
"""The options of every tube, whatever its handler."""

ON_EXIT_PREFIX = "on_exit_"
"""The beginning of the keys for single exit statuses: ``on_exit_CODE = ACTION[:DELAY]``."""

ON_EXIT = Option("on_exit", values.exit_actions, "", "CODE=ACTION[:DELAY]")
"""The option for several exit statuses, ``CODE=ACTION`` each."""

LOG_FORMATS = ("text", "json")
"""The values of ``log_format``."""

RUN = (
    Option("burst", values.boolean, "end when no job is ready", default=False, switch=True),
    Option("max_jobs", values.whole(1), "end after that many jobs", "NUMBER"),
    Option(
        "log_format",
        values.one_of({name: name for name in LOG_FORMATS}),
        "text, or json: an object on each line, on standard error (text)",
        "FORMAT",
        default="text",
    ),
    Option(
        "metrics",
        values.host_and_port,
        "serve /metrics for Prometheus, and /healthz, at this address (needs beanstalkt[metrics])",
        "HOST:PORT",
    ),
    Option(
        "history",
        str,
        "write what becomes of jobs into this database, and into the rows of the outbox that they "
        "come from: postgresql://, mysql:// or sqlite:///file (needs beanstalkt[sql], "
        "[postgresql] or [mysql])",
        "URL",
    ),
)
"""The options of the whole run, which the file does not have."""

RESERVED = frozenset(
    {
        *(option.name for option in (*COMMON, ON_EXIT, *RUN)),
        *(option.flag for option in (*COMMON, ON_EXIT, *RUN)),
        # Flags of the command line that are no options of a tube.
        *("--tube", "--all-tubes", "--exclude", "--config", "--check", "--help"),
        *("--server", "--host", "--port", "--connect-timeout"),
        # Keys and sections of the file.
        *("exclude", "server", "servers", "host", "port", "[connection]", "[DEFAULT]"),
        # BEANSTALKT_JOB_ID says that the runner was started by the command of a job.
        *("job_id", "--job-id"),
    }
)
"""Keys, flags and sections that no handler may have."""


def make_policy(common: Mapping[str, Any], on_exit: tuple[tuple[int, Action], ...]) -> Policy:
    """Return the policy that the values of the COMMON options describe."""
    return Policy(
        on_timeout=common["on_timeout"],
        on_temporary_fail=common["on_temporary_fail"],
        on_permanent_fail=common["on_permanent_fail"],
        on_unknown_fail=common["on_unknown_fail"],
        on_exit=on_exit,
        max_attempts=common["max_attempts"],
        backoff=Backoff(common["delay"], common["backoff"], common["max_delay"]),
    )
