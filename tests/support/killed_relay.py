"""A program that runs a relay and kills it, again and again, and at last lets it finish.

``python -m tests.support.killed_relay DATABASE SERVER BATCH KILLS SEED [NAME [LONGEST [SKEW]]]``:
NAME is that of the relay, LONGEST the seconds after which it is killed at the latest, SKEW those
by which its clock is wrong. It forks, so that a relay starts at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time

from beanstalkt import Client
from beanstalkt.sql.database import Database
from beanstalkt.sql.outbox import Outbox
from beanstalkt.sql.relay import Relay, RelayTiming

LONGEST = 0.12
"""Seconds after which a relay is killed at the latest: it connects in a third of that."""


async def relay(database: str, server: str, batch: int, name: str) -> None:
    async with Client.from_url(server, connect_timeout=20) as client:
        outbox = Outbox(Database(database), name)
        timing = RelayTiming(poll=0.001, max_poll=0.005, back_off=0.1)
        await Relay(outbox, client, "one", batch=batch, burst=True, timing=timing).run()


def start(database: str, server: str, batch: int, name: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(relay(database, server, batch, name))
    finally:
        os._exit(0)


def main(
    database: str,
    server: str,
    batch: str,
    kills: str,
    seed: str,
    name: str = "killed",
    longest: str = str(LONGEST),
    skew: str = "0",
) -> None:
    chance = random.Random(seed)
    right = time.time
    time.time = lambda: right() + float(skew)
    for _ in range(int(kills)):
        pid = start(database, server, int(batch), name)
        time.sleep(chance.uniform(0, float(longest)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.waitpid(start(database, server, int(batch), name), 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
