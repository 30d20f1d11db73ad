"""Measure a snapshot of a server with many tubes, against the commands that it is made of."""

from __future__ import annotations

import asyncio
import socket

import beanstalkt
from beanstalkt.admin import Sampler

from .bare import pipeline
from .registry import Address, Stopwatch, at_most, measure, rate
from .servers import TUBES, tube_name

GROUP = "statistics of 10,000 tubes"
SHARE = 0.25  # of 40,000: all tubes once

LINES_OF_TUBE = 17
"""LF in a reply to stats-tube: the status, the line ``---``, 14 keys, and the end of the data."""

BATCH = 1000
"""Commands that are issued together."""


def times(jobs: int) -> int:
    """Return how often all tubes are looked at, so that each is a job."""
    return max(1, round(jobs / TUBES))


@measure(GROUP, "this client, stats_tube in batches", share=SHARE, tubes=TUBES)
async def commands(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Ask for the statistics of each tube, and do nothing with them."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(times(jobs)):
                await client.stats()
                names = await client.list_tubes()
                for start in range(0, len(names), BATCH):
                    batch = names[start : start + BATCH]
                    await asyncio.gather(*(client.stats_tube(name) for name in batch))


@measure(GROUP, "bare socket, all written ahead", share=SHARE, tubes=TUBES)
def bare(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Ask for the statistics of each tube, and count the lines of the replies."""
    asked = b"".join(b"stats-tube %b\r\n" % tube_name(each).encode() for each in range(TUBES))
    with socket.create_connection(address) as sock, watch:
        for _ in range(times(jobs)):
            pipeline(sock, asked, TUBES * LINES_OF_TUBE)


@measure(GROUP, "this client, snapshots of the sampler", share=SHARE, tubes=TUBES)
async def snapshots(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Take snapshots with rates and badges."""
    async with beanstalkt.Client(*address) as client:
        sampler = Sampler(client, timeout=60)
        with watch:
            for _ in range(times(jobs)):
                snapshot = await sampler.sample()
        if len(snapshot.tubes) < TUBES:
            raise ValueError(f"{len(snapshot.tubes)} tubes were looked at: {snapshot.error}")


at_most(1.3, "a snapshot, against its commands (time)", rate(commands, snapshots))
