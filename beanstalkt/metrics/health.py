"""Whether a runner is healthy: it reaches its server, and no handler goes on past its limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..client.client import Client
from ..errors import BeanstalkException
from .runner_counts import RunnerCounts

GRACE = 60.0
"""Seconds for which the server may be out of reach before the runner counts as unhealthy."""

CHECK_TIMEOUT = 2.0
"""Seconds that the server may take to answer a check."""


class Health:
    """Checks a runner when it is asked; between two questions nothing is done.

    The check is a command over a connection of its own, which reconnects like those of the slots.

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
        for server in self._counts.servers():
            if not await self._reaches(server):
                lost_for = self._clock() - self._lost_since.setdefault(server, self._clock())
                if lost_for >= GRACE:
                    found.append(f"{server} is out of reach for {lost_for:.0f} s")
            else:
                self._lost_since.pop(server, None)
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
