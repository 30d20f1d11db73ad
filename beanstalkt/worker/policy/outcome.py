"""How a handler's work on a job ended."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """What an outcome is; the value is the word for it in the log."""

    # What a handler may say:
    SUCCESS = "success"
    PERMANENT_FAIL = "permanent-fail"
    TEMPORARY_FAIL = "temporary-fail"
    UNKNOWN_FAIL = "unknown-fail"
    #: release it, whatever the policy says of failures
    RETRY = "retry"
    #: bury it, whatever the policy says of failures
    REJECT = "reject"
    #: the handler could not even begin; the slot backs off as well
    NOT_STARTED = "not-started"

    # What only the slot says:
    TIMEOUT = "timeout"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt at a job.

    :ivar kind: what it was
    :ivar exit_code: of a command that ended by itself: its exit status, or minus the number of
        the signal that ended it; it selects among the ``on_exit_…`` of the policy
    :ivar delay: seconds that the job should wait if it is released. After RETRY they are taken
        as they are, after every other kind within the policy's ``max_delay``; None leaves the
        delay to the policy
    :ivar error: for the log, one or two lines; empty after a success
    :ivar details: further fields for the log line, each a str, a number or None
    """

    kind: Kind
    exit_code: int | None = None
    delay: float | None = None
    error: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


SUCCESS = Outcome(Kind.SUCCESS)
