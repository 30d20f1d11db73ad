"""Listing jobs in any state, without moving them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

from ..client.client import Client
from .progress import OnProgress
from .scan import Scan
from .scans import Scans
from .selection import Selection
from .several import Clients
from .tailing import INTERVAL, Tail
from .tails import Tails


@overload
def list_jobs(
    client: Client,
    selection: Selection,
    *,
    bodies: bool = ...,
    limit: int | None = ...,
    progress: OnProgress | None = ...,
) -> Scan: ...


@overload
def list_jobs(
    client: Clients,
    selection: Selection,
    *,
    bodies: bool = ...,
    limit: int | None = ...,
    progress: OnProgress | None = ...,
) -> Scans: ...


@overload
def list_jobs(
    client: Client | Clients,
    selection: Selection,
    *,
    bodies: bool = ...,
    limit: int | None = ...,
    progress: OnProgress | None = ...,
) -> Scan | Scans: ...


def list_jobs(
    client: Client | Clients,
    selection: Selection,
    *,
    bodies: bool = True,
    limit: int | None = None,
    progress: OnProgress | None = None,
) -> Scan | Scans:
    """Return a scan of the jobs of a selection, over which ``async for`` iterates.

    It moves no job, and finds jobs in every state; see :class:`Scan` for what it tells.

    :param client: or clients by the names of their servers, as `pool.clients`; then it is
        :class:`Scans`, which looks at one server after another
    :param bodies: whether the records have bodies
    :param limit: the number of jobs after which it ends; None: no limit
    :param progress: called with the progress, some times a second

    The iteration raises ConnectionLost.
    """
    if isinstance(client, Mapping):
        return Scans(client, selection, bodies=bodies, limit=limit, progress=progress)
    return Scan(client, selection, bodies=bodies, limit=limit, progress=progress)


@overload
def tail(
    client: Client, selection: Selection, *, bodies: bool = ..., interval: float = ...
) -> Tail: ...


@overload
def tail(
    client: Clients, selection: Selection, *, bodies: bool = ..., interval: float = ...
) -> Tails: ...


@overload
def tail(
    client: Client | Clients, selection: Selection, *, bodies: bool = ..., interval: float = ...
) -> Tail | Tails: ...


def tail(
    client: Client | Clients,
    selection: Selection,
    *,
    bodies: bool = True,
    interval: float = INTERVAL,
) -> Tail | Tails:
    """Return what yields the jobs of a selection that are put from now on, to ``async for``.

    It reserves nothing; see :class:`Tail` for what it does not see.

    :param client: or clients by the names of their servers, as `pool.clients`; then it is
        :class:`Tails`
    :param bodies: whether the records have bodies
    :param interval: seconds between two looks for new jobs

    The iteration raises ConnectionLost.
    """
    if isinstance(client, Mapping):
        return Tails(client, selection, bodies=bodies, interval=interval)
    return Tail(client, selection, bodies=bodies, interval=interval)
