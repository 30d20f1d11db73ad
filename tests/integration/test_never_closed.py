"""A client that is never closed, and loops that come one after the other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..beanstalkd import Beanstalkd

NEVER_CLOSED = """
import asyncio, gc, os, sys, weakref
from beanstalkt import Client, timerfd

port, kind, doing = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if kind == "timer":
    timerfd.create = lambda: None
kept = []

async def main():
    client = Client("127.0.0.1", port)
    kept.append((weakref.ref(client), weakref.ref(asyncio.get_running_loop())))
    await client.connect()
    await client.put(b"job")
    if doing == "reserving":
        await asyncio.gather(client.watch("empty"), client.ignore("default"))
        client.reserve(20)
        client.put(b"held")
        await asyncio.sleep(0)
    elif doing == "putting":
        client.put(b"job")
    elif doing == "reconnecting":
        client._supervisor.connection.give_up()
        await asyncio.sleep(0.01)

left = []
for _ in range(6):
    asyncio.run(main())
    gc.collect()
    left.append(len(os.listdir("/proc/self/fd")))
# Tornado keeps the last loop, until there is another one.
alive = [sum(each[which]() is not None for each in kept[:-1]) for which in (0, 1)]
print(alive, max(left) - left[0])
"""


@pytest.mark.parametrize("kind", ["descriptor", "timer"])
@pytest.mark.parametrize("doing", ["nothing", "putting", "reserving", "reconnecting"])
def test_nothing_is_kept_of_a_loop_that_has_ended(
    beanstalkd: Beanstalkd, kind: str, doing: str
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", NEVER_CLOSED, str(beanstalkd.port)]
    ended = subprocess.run(
        [*command, kind, doing], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.returncode) == ("[0, 0] 0\n", 0), ended.stderr
