"""A client that is never closed, and loops that come one after the other."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost

from ..support.beanstalkd import Beanstalkd

NEVER_CLOSED = """
import asyncio, gc, os, sys, weakref
from beanstalkt import Client
from beanstalkt.client import timerfd

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
        client._reconnector.connection.abort_closing()
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


def second_loop(
    client: Client, first: Callable[[], Awaitable[object]], then: Callable[[], Awaitable[object]]
) -> None:
    """Runs `first` on a loop that then ends, and `then` on another, with nothing reported."""
    reported: list[Any] = []

    async def run(what: Callable[[], Awaitable[object]]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        await what()

    asyncio.run(run(first), debug=True)
    asyncio.run(run(then), debug=True)
    gc.collect()
    assert not reported


VERBS: list[Callable[[Client], Any]] = [
    lambda client: client.connect(),
    lambda client: client.put(b"job"),
    lambda client: client.put(b"job", tube="other"),
    lambda client: client.put_many([b"job"]),
    lambda client: client.reserve(),
    lambda client: client.reserve(0),
    lambda client: client.delete(1),
    lambda client: client.use("x"),
    lambda client: client.stats(),
    lambda client: client.release(1, None),
]


@pytest.mark.parametrize("state", ["connected", "reconnecting", "moving", "reserving"])
def test_on_a_second_loop_there_is_one_clear_error(beanstalkd: Beanstalkd, state: str) -> None:
    client = Client(beanstalkd.host, beanstalkd.port, reconnect_delay=0.01)

    async def first() -> None:
        await client.connect()
        await client.use("used")
        connection = client._reconnector.connection
        assert connection is not None
        if state == "reconnecting":
            connection.abort_closing()
        elif state == "moving":
            reserve = client.reserve()
            await asyncio.sleep(0)
            client.put(b"held")
            reserve.cancel()
        elif state == "reserving":
            client.reserve()
            client.put(b"held")
            await asyncio.sleep(0)

    async def then() -> None:
        for verb in VERBS:
            with pytest.raises(RuntimeError, match="loop"):
                verb(client)
        with pytest.raises(RuntimeError, match="loop"):
            async with client:
                pass
        # And this is the way out of it.
        await client.close()
        async with client:
            assert await client.list_tube_used() == "used"
            assert await client.put(b"job")
        await client.close()

    second_loop(client, first, then)


def test_closed_but_not_waited_for_it_may_be_used_on_a_second_loop(
    beanstalkd: Beanstalkd,
) -> None:
    client = Client(beanstalkd.host, beanstalkd.port)

    async def first() -> None:
        await client.connect()
        client.close()

    async def then() -> None:
        with pytest.raises(ConnectionLost):
            await client.put(b"job")
        async with client:
            assert await client.put(b"job") == 1
        await client.close()

    second_loop(client, first, then)
    second_loop(client, first, client.close)


def test_on_another_loop_that_runs_it_is_refused(beanstalkd: Beanstalkd) -> None:
    client = Client(beanstalkd.host, beanstalkd.port)

    async def begin() -> None:
        await client.connect()

    async def other() -> None:
        verbs: list[Callable[[Client], Any]] = [*VERBS, lambda client: client.close()]
        for verb in verbs:
            with pytest.raises(RuntimeError, match="another event loop"):
                verb(client)

    async def end() -> None:
        # Nothing of the refused ones was sent.
        stats = await client.stats()
        assert (stats["cmd-put"], stats["cmd-reserve"], stats["cmd-stats"]) == (0, 0, 1)
        await client.close()

    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    one.run_until_complete(begin())
    two.run_until_complete(other())
    one.run_until_complete(end())
    for loop in (one, two):
        loop.close()
