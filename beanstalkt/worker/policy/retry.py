"""When a job is tried again, and how often: functions of plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...protocol.arguments import MAX_NUMBER

JITTER = 0.25
"""How much of a delay that grows is added at most, so that jobs that failed together part."""


@dataclass(frozen=True)
class Backoff:
    """How long a released job waits; all in seconds."""

    delay: int = 60
    #: the delay doubles with each attempt, and jitter comes on top
    exponential: bool = False
    max_delay: int = 3600


def retry_delay(backoff: Backoff, attempt: int, jitter: float) -> int:
    """Seconds before attempt number `attempt` (from 1), which failed, is followed by the next.

    :param jitter: a random number from 0 to 1; a fixed delay takes no notice of it
    """
    if not backoff.exponential:
        return min(backoff.delay, backoff.max_delay)
    # Past 32 doublings every delay but 0 is over the limit; 1 << attempt itself could be huge.
    grown = backoff.delay * (1 << min(max(attempt, 1) - 1, 32))
    return min(math.ceil(grown * (1 + JITTER * jitter)), backoff.max_delay, MAX_NUMBER)


class Budget(NamedTuple):
    """Which attempt at a job this is, and whether it may be made."""

    #: from 1
    attempt: int
    #: the job has used up its attempts: bury it, do not run it
    exhausted: bool


def budget(counters: Mapping[str, object], max_attempts: int) -> Budget:
    """Judge a job just reserved by the counters in its ``stats-job``.

    An attempt is a reserve, whoever made it and however it ended: only so is a job caught
    that takes its worker down. (So a lost connection that the runner repaired, or a look with
    ``reserve``, counts too.)

    Each kick of a buried job grants `max_attempts` more. The server does not tell how many
    reserves there had been when the job was kicked. What is known: a job in hand has left the
    buried state as often as it entered it, so at most min(buries, kicks) kicks found it
    buried (other kicks found it delayed, and grant nothing); and every bury for want of attempts
    took one reserve that ran nothing. So the new budget is never less than `max_attempts`; it
    is more where the job was buried before it had used up the one before.

    :param max_attempts: 0 for no limit
    """
    reserves = _count(counters, "reserves")
    if max_attempts <= 0:
        return Budget(max(reserves, 1), False)
    granted = min(_count(counters, "kicks"), _count(counters, "buries"))
    spent = granted * (max_attempts + 1)
    attempt = max(reserves - spent, 1)
    return Budget(attempt, attempt > max_attempts)


def _count(counters: Mapping[str, object], key: str) -> int:
    value = counters.get(key, 0)
    return value if isinstance(value, int) else 0
