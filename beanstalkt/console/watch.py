"""Watches one server for all pages: one sampler, whatever the number of tabs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ..admin import Sampler, Snapshot
from ..admin.record import STATES
from ..client.client import Client
from .shapes import TUBE_COLUMNS, Row, columns, number, server_summary, tube_details, tube_row

HEADS = 20
"""Tubes whose next ready job is looked at, for its age."""

TUBES_A_SECOND = 300
"""Tubes whose statistics are asked for in a second on the average. A server with more tubes is
looked at less often, so that it spends no more than about a hundredth of its time on that."""

SPARKLINES = 200
"""Tubes at most whose last rates are sent along when a page opens."""

SPARKLINE_POINTS = 40
"""Samples that a sparkline shows."""

RESPONSE_TIMEOUT = 10.0
"""Seconds that a server may take to answer what a page asks."""

CONNECT_TIMEOUT = 5.0
"""Seconds to try to connect for what a page asks."""


class Watch:
    """What the console knows of one server.

    :param name: what the console calls it
    :param url: where it is
    :param interval: seconds between two samples
    :param changed: is called after each sample
    """

    def __init__(
        self, name: str, url: str, interval: float, changed: Callable[[Watch], None]
    ) -> None:
        self.name = name
        self.url = url
        self.sampler = Sampler(url, interval, heads=HEADS)
        self._interval = interval
        self._changed = changed
        self._rows: dict[str, Row] = {}
        self._new: dict[str, Row] = {}  # the rows that the last sample changed
        self._gone: list[str] = []  # the tubes that were not in it any more
        self._task: asyncio.Task[None] | None = None

    @property
    def latest(self) -> Snapshot | None:
        """Return the last snapshot of the server; None before the first one."""
        return self.sampler.latest

    def client(self) -> Client:
        """Make a client of the server, for something that is done over a connection of its own."""
        return Client.from_url(
            self.url, connect_timeout=CONNECT_TIMEOUT, response_timeout=RESPONSE_TIMEOUT
        )

    # --- running ---

    def start(self) -> None:
        """Begin to take samples of the server, in a task."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Take no more samples, and close the connection to the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self.sampler.close()

    async def _run(self) -> None:
        async with self.sampler.subscribe() as snapshots:
            async for snapshot in snapshots:
                self._take(snapshot)
                self._changed(self)

    def _take(self, snapshot: Snapshot) -> None:
        # When the server is away, the rows stay as they were: the page says how old they are.
        if not snapshot.up:
            self._new, self._gone = {}, []
            return
        self.sampler.interval = max(self._interval, len(snapshot.tubes) / TUBES_A_SECOND)
        before = self._rows
        self._rows = {name: tube_row(sample) for name, sample in snapshot.tubes.items()}
        self._new = {name: row for name, row in self._rows.items() if before.get(name) != row}
        self._gone = [name for name in before if name not in self._rows]

    # --- what pages see ---

    def summary(self) -> dict[str, Any]:
        """Return the server as a whole, with its last rates."""
        found = self._server()
        points = self.sampler.history.server()[-SPARKLINE_POINTS:]
        found["series"] = {
            key: values for key, values in columns(points).items() if key in ("into", "out")
        }
        return found

    def all_tubes(self) -> dict[str, Any]:
        """Return the server and all its tubes, for a page that opens."""
        busiest = sorted(self._rows, key=self._busy, reverse=True)[:SPARKLINES]
        history = self.sampler.history
        return {
            "server": self._server(),
            "columns": TUBE_COLUMNS,
            "rows": self._rows,
            "series": {
                name: columns(history.tube(name)[-SPARKLINE_POINTS:])["out"] for name in busiest
            },
        }

    def changed_tubes(self) -> dict[str, Any]:
        """Return the server, and what the last sample changed in its tubes."""
        return {
            "server": self._server(),
            "rows": self._new,
            "gone": self._gone,
        }

    def tube(self, name: str, *, history: bool) -> dict[str, Any]:
        """Return all that is known of a tube: with its history, or with the last point of it."""
        snapshot = self.sampler.latest_up
        sample = snapshot.tubes.get(name) if snapshot is not None else None
        points = self.sampler.history.tube(name)
        return {
            "server": self._server(),
            "tube": None if sample is None else tube_details(sample),
            "points": columns(points if history else points[-1:]),
        }

    def _server(self) -> dict[str, Any]:
        return {
            **server_summary(self.name, self.url, self.latest),
            "interval": number(self.sampler.interval),
        }

    def _busy(self, name: str) -> float:
        return sum(value or 0.0 for value in _BUSY(self._rows[name]))


_BUSY = itemgetter(*map(TUBE_COLUMNS.index, ("into", "out", *STATES)))
"""Returns the values of a row that make a tube a busy one."""
