"""Listing jobs in any state, without moving them."""

from __future__ import annotations

from ..client.client import Client
from .progress import OnProgress
from .scan import Scan
from .selection import Selection
from .tailing import INTERVAL, Tail


def list_jobs(
    client: Client,
    selection: Selection,
    *,
    bodies: bool = True,
    limit: int | None = None,
    progress: OnProgress | None = None,
) -> Scan:
    """Return a scan of the jobs of a selection, over which ``async for`` iterates.

    It moves no job, and finds jobs in every state; see :class:`Scan` for what it tells.

    :param bodies: whether the records have bodies
    :param limit: the number of jobs after which it ends; None: no limit
    :param progress: called with the progress, some times a second

    The iteration raises ConnectionLost.
    """
    return Scan(client, selection, bodies=bodies, limit=limit, progress=progress)


def tail(
    client: Client,
    selection: Selection,
    *,
    bodies: bool = True,
    interval: float = INTERVAL,
) -> Tail:
    """Return what yields the jobs of a selection that are put from now on, to ``async for``.

    It reserves nothing; see :class:`Tail` for what it does not see.

    :param bodies: whether the records have bodies
    :param interval: seconds between two looks for new jobs

    The iteration raises ConnectionLost.
    """
    return Tail(client, selection, bodies=bodies, interval=interval)
