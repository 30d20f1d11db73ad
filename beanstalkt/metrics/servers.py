"""The metrics of several servers as text, from snapshots that are taken for each scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from ..admin import Sampler, Snapshot, TubeFilter
from .server import ServerCollector
from .tubes import tube_text

TIMEOUT = 3.0
"""Seconds after which a server that has not answered counts as not up. A Prometheus waits for 10 s
unless it is told otherwise."""

MAX_TUBES = 2000
"""Tubes of each server whose metrics are given at most, unless it is told otherwise."""

HEADS = 20
"""Tubes whose next ready job is looked at, for its age."""


class ServerMetrics:
    """Look at servers whenever their metrics are asked for, and no more often than that.

    :param urls: of the servers, by the name for the label ``server``
    :param tubes: of which metrics are given
    :param timeout: seconds that a server may take to answer
    :param heads: the number of tubes whose next ready job is looked at
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        tubes: TubeFilter | None = None,
        timeout: float = TIMEOUT,
        heads: int = HEADS,
    ) -> None:
        tubes = tubes or TubeFilter(limit=MAX_TUBES)
        self._samplers = {
            name: Sampler(url, timeout=timeout, tubes=tubes, heads=heads, history=0)
            for name, url in urls.items()
        }

    async def render(self) -> str:
        """Return the metrics of all servers. A server that does not answer in time is not up."""
        samplers = self._samplers
        snapshots = await asyncio.gather(*(each.sample() for each in samplers.values()))
        return text_of(dict(zip(samplers, snapshots, strict=True)))


def text_of(latest: Mapping[str, Snapshot | None]) -> str:
    """Return the metrics of snapshots, by the name of the server."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(lambda: latest))
    ProcessCollector(registry=registry)
    return generate_latest(registry).decode() + tube_text(latest)
