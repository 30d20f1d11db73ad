"""Decide when a job is tried again, and how often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...protocol.arguments import MAX_NUMBER

JITTER = 0.25
"""Share of a growing delay that is added at most, so that jobs that failed at the same time are
not tried again at the same time."""


@dataclass(frozen=True)
class Backoff:
    """The delay of a released job, in seconds."""

    delay: int = 60
    #: the delay doubles with each attempt, and jitter comes on top
    exponential: bool = False
    max_delay: int = 3600


def retry_delay(backoff: Backoff, attempt: int, jitter: float) -> int:
    """Return the seconds between an attempt that failed and the next one.

    :param attempt: the number of the attempt that failed, from 1
    :param jitter: a random number from 0 to 1; a fixed delay does not depend on it
    """
    if not backoff.exponential:
        return min(backoff.delay, backoff.max_delay)
    # After 32 doublings every delay but 0 is over the limit. 1 << attempt could take all memory.
    grown = backoff.delay * (1 << min(max(attempt, 1) - 1, 32))
    return min(math.ceil(grown * (1 + JITTER * jitter)), backoff.max_delay, MAX_NUMBER)


class Budget(NamedTuple):
    """The number of an attempt at a job, and whether it may be made."""

    #: number of this attempt, from 1
    attempt: int
    #: the job has used up its attempts, and must be buried without running
    exhausted: bool


def budget(counters: Mapping[str, object], max_attempts: int) -> Budget:
    """Return the budget of a job that was just reserved.

    Every reserve counts as an attempt, by whichever worker and however it ended: otherwise a
    job that takes its worker down would be run for ever. A job that was taken back after a lost
    connection, and one that a person reserved to see it, are counted too.

    Each kick of a buried job grants `max_attempts` more. The server does not tell how many
    reserves came before a kick, but two things are certain: a job that is reserved has left the
    buried state as often as it entered it, so at most min(buries, kicks) kicks found it
    buried (other kicks found it delayed, and grant nothing); and every bury of a job without
    attempts left took one reserve that ran nothing. So the new budget is never less than
    `max_attempts`; it is more where the job was buried before it had used up the last one.

    :param counters: the job's statistics, as from ``stats-job``
    :param max_attempts: 0 for no limit
    """
    reserves = _count(counters, "reserves")
    if max_attempts <= 0:
        return Budget(max(reserves, 1), False)
    granted = 0
    if counters.get("kicks"):  # seldom
        granted = min(_count(counters, "kicks"), _count(counters, "buries"))
    spent = granted * (max_attempts + 1)
    attempt = max(reserves - spent, 1)
    return Budget(attempt, attempt > max_attempts)


def _count(counters: Mapping[str, object], key: str) -> int:
    value = counters.get(key, 0)
    return value if isinstance(value, int) else 0
