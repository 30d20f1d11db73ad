"""The extent of the ids of a server: how far a scan has to look.

The server does not tell the highest id. What it tells is how many put commands its process has
got (``cmd-put``), and each of them took one id at the most, in order. So where the process began
with the id 1, no id is above that number. It did not where it has restored jobs from the binlog of
an earlier process, and then a file of the binlog has a higher number than 1; but once the server
could not write its binlog, as on a full disk, it tells the number 0. Then that an id is higher
shows only in the number of jobs: there are more than were found and put since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from ..client.client import Client
from ..errors import NotFound
from ..protocol.arguments import TUBE_NAME
from ..protocol.stats import Stats
from .record import STATES

AT_ONCE = 16
"""Tubes whose heads are asked for at once. Each reply holds a body, of which some may be long."""


def highest_id_of(stats: Stats) -> int | None:
    """Return an id above which the server has given none; None if its statistics do not tell."""
    if stats.get("binlog-current-index", 2) > 1:
        return None
    return stats.get("cmd-put")


def live(stats: Mapping[str, Any]) -> int:
    """Return how many jobs there are in a tube or a server, by its statistics."""
    return sum(stats.get(f"current-jobs-{state}", 0) for state in STATES)


class Extent:
    """What a server tells of its ids and jobs at one moment.

    :param tubes: the names of the tubes whose jobs are counted; none: all tubes
    """

    def __init__(self, client: Client, tubes: Iterable[str]) -> None:
        self._client = client
        self._tubes = sorted(tubes)
        #: whether to believe what the statistics tell of the highest id
        self.trusted = True
        #: an id above which the server has given none; None if that is not known
        self.highest: int | None = None
        #: the highest id that is known to exist, where `highest` is not known
        self.known = 0
        #: how many jobs are in the tubes
        self.jobs = 0
        #: the largest body that the server takes, in bytes
        self.max_job_size = 0
        #: how many put commands the server has got
        self.puts = 0

    async def look(self, *, heads: bool = True) -> None:
        """Ask the server for its job counts and for the highest id that it tells of.

        :param heads: whether to look for the highest id that is known to exist, if it must be
        """
        stats = await self._client.stats()
        self.highest = highest_id_of(stats) if self.trusted else None
        self.max_job_size = stats.get("max-job-size", 2**16)
        self.puts = stats.get("cmd-put", 0)
        self.jobs = await self._count(stats)
        if self.highest is None and heads:
            self.known = max(self.known, await self._highest_head())

    async def count(self) -> int:
        """Return how many jobs are in the tubes now."""
        self.jobs = await self._count(None)
        return self.jobs

    async def _count(self, stats: Stats | None) -> int:
        if not self._tubes:
            return live(stats or await self._client.stats())
        found = 0
        for name in self._tubes:
            try:
                found += live(await self._client.stats_tube(name))
            except NotFound:
                continue
        return found

    async def _highest_head(self) -> int:
        """Return the highest id of the jobs that are next in each state of the tubes."""
        # A name that no tube can have, and that a server lists all the same, cannot be asked for.
        names = self._tubes or [
            name for name in await self._client.list_tubes() if TUBE_NAME.fullmatch(name)
        ]
        highest = 0
        for first in range(0, len(names), AT_ONCE):
            peeks = [
                peek(tube=name)
                for name in names[first : first + AT_ONCE]
                for peek in (
                    self._client.peek_ready,
                    self._client.peek_delayed,
                    self._client.peek_buried,
                )
            ]
            for found in await asyncio.gather(*peeks, return_exceptions=True):
                if isinstance(found, NotFound):
                    continue
                if isinstance(found, BaseException):
                    raise found
                highest = max(highest, found.id)
        return highest
