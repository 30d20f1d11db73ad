"""Decide how long a handler may work on a job."""

from __future__ import annotations

TTR_SHARE = 0.1
"""Share of a ttr that is kept for settling the job ..."""

TTR_RESERVE = 1.0
"""... but no more than so many seconds."""


def time_limit(timeout: float | None, ttr: int, elapsed: float) -> float:
    """Return the seconds from now after which the handler is stopped.

    Without a timeout the handler has to end before the ttr does, so that the job can be settled.

    :param timeout: seconds; None if the configuration sets none
    :param ttr: of the job, in seconds
    :param elapsed: seconds since the job was reserved
    """
    if timeout is not None:
        return timeout
    ttr = max(ttr, 1)
    return max(ttr - min(ttr * TTR_SHARE, TTR_RESERVE) - elapsed, 0.0)
