"""Whether a runner is healthy: it reaches a server, and no handler goes on past its limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..client.client import Client
from ..errors import BeanstalkException
from .runner_counts import RunnerCounts

GRACE = 60.0
"""Seconds for which all servers of a tube may be out of reach before the runner is unhealthy."""

CHECK_TIMEOUT = 2.0
"""Seconds that the server may take to answer a check."""


class Health:
    """Check a runner when it is asked; between two questions nothing is done.

    The check is a command over a connection of its own, which reconnects like those of the slots.
    Of several servers one is enough: a runner that works for the others must not be ended.

    :param clock: seconds of a steady clock
    """

    def __init__(
        self,
        counts: RunnerCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._lost_since: dict[str, float] = {}

    async def problems(self) -> list[str]:
        """Return what is wrong, in sentences; an empty list: the runner is healthy."""
        found = [
            f"job {job_id} of tube {tube} goes on past its time limit"
            for tube, job_id in self._counts.overdue()
        ]
        groups = self._counts.servers()
        urls = list(dict.fromkeys(url for group in groups for url in group.values()))
        reached = await asyncio.gather(*map(self._reaches, urls))
        lost = {url for url, up in zip(urls, reached, strict=True) if not up}
        for group in groups:
            names = " ".join(group)
            who = f"{names} is" if len(group) == 1 else f"all of {names} are"
            if lost.issuperset(group.values()):
                lost_for = self._clock() - self._lost_since.setdefault(names, self._clock())
                if lost_for >= GRACE:
                    found.append(f"{who} out of reach for {lost_for:.0f} s")
            else:
                self._lost_since.pop(names, None)
        return found

    async def _reaches(self, server: str) -> bool:
        client = self._clients.get(server)
        try:
            if client is None:
                client = self._clients[server] = Client.from_url(
                    server, connect_timeout=CHECK_TIMEOUT, response_timeout=CHECK_TIMEOUT
                )
            await client.connect()
            await client.list_tube_used()
        except (BeanstalkException, OSError):
            # Not left to reconnect by itself: nobody may ask again.
            gone = self._clients.pop(server, None)
            if gone is not None:
                await gone.close()
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()
