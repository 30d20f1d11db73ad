"""Find the tubes of a server that appear, and those that are no longer used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..client.client import Client
from ..pool.pool import Pool
from ..protocol.servers import called, names_one
from .events import Event, TubeScanFailed
from .timing import WorkerTiming

_IN_USE = (
    "current-using",
    "current-jobs-ready",
    "current-jobs-reserved",
    "current-jobs-delayed",
    "current-jobs-buried",
)
"""Statistics of a tube, of which one at least is not 0 if the tube is in use."""


def client_for(server: str, **options: Any) -> Client | Pool:
    """Make a client of the server at a URL, or a pool of a list of several."""
    return Client.from_url(server, **options) if names_one(server) else Pool(server, **options)


class TubeScan:
    """List the tubes of a server at intervals, since a server announces no new tube.

    :param server: URL; or a list of several servers
    :param watchers: returns the tubes that may be unused, each with the number of connections
        of this runner that watch it
    :param on_tubes: called after each scan with all tubes, and with those of `watchers` that only
        this runner has used during the last two scans
    """

    def __init__(
        self,
        server: str,
        watchers: Callable[[], Mapping[str, int]],
        on_tubes: Callable[[list[str], set[str]], None],
        publish: Callable[[Event], None],
        timing: WorkerTiming,
    ) -> None:
        self._server = server
        self._watchers = watchers
        self._on_tubes = on_tubes
        self._publish = publish
        self._timing = timing
        self._unused: set[str] = set()  # at the last scan
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop scanning."""
        self._task.cancel()
        await asyncio.wait({self._task})

    def cancel(self) -> None:
        """Stop scanning soon."""
        self._task.cancel()

    async def _run(self) -> None:
        client = client_for(
            self._server,
            connect_timeout=None,
            max_reconnect_delay=self._timing.max_reconnect_delay,
        )
        try:
            while True:
                await asyncio.sleep(self._timing.tube_scan_interval)
                try:
                    await client.connect()
                    await self._scan(client)
                except Exception as error:  # also of a defect: scanning must go on
                    self._publish(TubeScanFailed(called(self._server), error))
        finally:
            await client.close()

    async def _scan(self, client: Client | Pool) -> None:
        names = await client.list_tubes()
        unused: set[str] = set()
        for name, watching in list(self._watchers().items()):
            stats: Mapping[str, object] = await client.stats_tube(name)
            if stats["current-watching"] == watching and not any(stats[key] for key in _IN_USE):
                unused.add(name)
        before, self._unused = self._unused, unused
        self._on_tubes(names, unused & before)
