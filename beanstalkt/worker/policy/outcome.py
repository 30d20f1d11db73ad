"""Describe how a handler's work on a job ended."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """A kind of outcome; its value is the word for it in the log."""

    # Kinds that a handler may return:
    SUCCESS = "success"
    PERMANENT_FAIL = "permanent-fail"
    TEMPORARY_FAIL = "temporary-fail"
    UNKNOWN_FAIL = "unknown-fail"
    #: release the job, whatever the policy says of failures
    RETRY = "retry"
    #: bury the job, whatever the policy says of failures
    REJECT = "reject"
    #: the handler could not begin: release the job, and wait before the next one is reserved
    NOT_STARTED = "not-started"

    # Kinds that only a slot sets:
    #: the time limit passed
    TIMEOUT = "timeout"
    #: the job has used up its attempts, and was not run
    EXHAUSTED = "exhausted"
    #: the runner was told to stop at once
    STOPPED = "stopped"
    #: the job was lost to another worker, or no longer exists
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt at a job.

    :ivar kind: how the attempt ended
    :ivar exit_code: the exit status of a command that ended by itself, or minus the number of
        the signal that ended it; selects among the ``on_exit_…`` of the policy
    :ivar delay: seconds that the job should wait if it is released; None leaves the delay to the
        policy. The policy's ``max_delay`` limits it, except after RETRY
    :ivar error: one or two lines for the log; empty after a success
    :ivar details: further fields for the log line, each a str, a number or None
    """

    kind: Kind
    exit_code: int | None = None
    delay: float | None = None
    error: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


SUCCESS = Outcome(Kind.SUCCESS)
