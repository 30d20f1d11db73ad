"""Whatever is cancelled or raised by others, a client that is not closed connects again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost

from ..support.beanstalkd import Beanstalkd
from ..support.both import Kind
from ..support.clients import client_of
from ..support.embedded import AnyServer, Embedded
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.ports import free_port
from ..support.proxy import Proxy
from ..support.waiting import until

WAIT = 20  # seconds


def cancel_all() -> None:
    """Cancels every task but the present one, as a program does that cleans up in its own way."""
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


def cancel_tasks_of_the_client() -> None:
    """Cancels these and leaves those of the test's proxy or server."""
    for task in asyncio.all_tasks():
        name = getattr(task.get_coro(), "__qualname__", "")
        if name.startswith(("Reconnector.", "Client.")) or name in ("_connect", "_resolve"):
            task.cancel()


async def back(client: Client) -> None:
    """A put works again."""
    await until(lambda: not client.closed(), timeout=WAIT)
    await asyncio.wait_for(client.put(b"job"), WAIT)


@pytest.mark.parametrize("turns", range(12))
async def test_all_tasks_are_cancelled_while_it_connects_again(
    server: AnyServer, turns: int
) -> None:
    async with (
        nothing_left(),
        Proxy(server.host, server.port) as proxy,
        client_of(proxy) as client,
    ):
        await client.use("used")
        await proxy.cut()
        await until(client.closed)
        for _ in range(turns):
            await asyncio.sleep(0)
        cancel_tasks_of_the_client()
        waits = client.connect()
        await asyncio.wait_for(waits, WAIT)
        await back(client)
        assert await client.list_tube_used() == "used"


async def test_all_tasks_are_cancelled_again_and_again_while_the_server_is_away() -> None:
    server = Embedded()
    server.start()
    async with client_of(server) as client:
        server.stop()
        await until(client.closed)
        waits = client.connect()
        for _ in range(50):
            cancel_all()
            await asyncio.sleep(0.001)
        assert not waits.done()
        server.start()
        await asyncio.wait_for(waits, WAIT)
        await back(client)
    server.stop()


async def test_all_tasks_are_cancelled_during_the_first_attempt(server: AnyServer) -> None:
    async with nothing_left():
        client = client_of(server)
        waits = client.connect()
        await asyncio.sleep(0)
        cancel_all()
        await asyncio.wait_for(waits, WAIT)
        await client.close()
        # Closed in the pause after it, it does not come back.
        client = client_of(server, reconnect_delay=0.05)
        waits = client.connect()
        await asyncio.sleep(0)
        cancel_all()
        await asyncio.sleep(0.001)
        await client.close()
        assert isinstance(waits.exception(), ConnectionLost)


async def test_a_time_to_connect_ends_in_the_pause_too() -> None:
    async with nothing_left():
        client = Client(port=free_port(), connect_timeout=0.05, reconnect_delay=10)
        with pytest.raises(ConnectionLost, match="within"):
            await asyncio.wait_for(client.connect(), WAIT)
        assert not client._reconnector.active


async def test_0_seconds_are_one_attempt(server: AnyServer, kind: Kind) -> None:
    async with nothing_left():
        client = kind(server.host, server.port, connect_timeout=0)
        await client.connect()
        assert await client.put(b"job") == 1
        await client.close()
        nowhere = kind(port=free_port(), connect_timeout=0, reconnect_delay=1000)
        with pytest.raises(ConnectionLost, match=r"within 0 s: Connection refused$"):
            await asyncio.wait_for(nowhere.connect(), WAIT)
        await nowhere.close()


async def test_one_attempt_ends_one_wait_of_several() -> None:
    async with nothing_left():
        client = Client(port=free_port(), connect_timeout=0, reconnect_delay=1000)
        waits = [client.connect() for _ in range(3)]
        for wait in waits:
            with pytest.raises(ConnectionLost, match=r"within 0 s: Connection refused$"):
                await asyncio.wait_for(wait, WAIT)
        assert not client._reconnector.active


async def test_one_attempt_that_fails_does_not_end_the_others() -> None:
    server = Embedded()
    server.start()
    async with client_of(server, connect_timeout=0) as client:
        server.stop()
        await until(client.closed)
        with pytest.raises(ConnectionLost, match="within 0 s"):
            await asyncio.wait_for(client.connect(), WAIT)
        server.start()
        await back(client)
    server.stop()


async def test_a_host_without_an_address_is_told_in_words(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = kind("nowhere", connect_timeout=0)
    with pytest.raises(ConnectionLost, match=r"within 0 s: Name or service not known$"):
        await asyncio.wait_for(client.connect(), WAIT)
    await client.close()


async def test_a_cancelled_connect_ends_the_pause(server: AnyServer) -> None:
    async with nothing_left():
        client = Client(port=free_port(), reconnect_delay=10)
        waits = client.connect()
        await until(lambda: client._reconnector._pause is not None)
        waits.cancel()
        await until(lambda: not client._reconnector.active)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, GeneratorExit, ZeroDivisionError, StopIteration]
)
async def test_a_reconnect_callback_that_raises_stops_nothing(
    server: AnyServer, error: type[BaseException]
) -> None:
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    usual = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    called = 0

    def restored() -> None:
        nonlocal called
        called += 1
        raise error

    async with Proxy(server.host, server.port) as proxy, client_of(proxy) as client:
        client.set_reconnect_callback(restored)
        for times in (1, 2):
            reserve = client.reserve()
            await until(lambda: proxy.up.passed.endswith(b"reserve\r\n"))
            await proxy.cut()
            await until(client.closed)
            await asyncio.wait_for(client.connect(), WAIT)
            async with client_of(server) as other:
                await other.put(b"job")
            await asyncio.wait_for(reserve, WAIT)
            assert called == times
    loop.set_exception_handler(usual)
    assert [type(each) for each in reported] == [error] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_reconnect_callback_may_end_the_program(
    beanstalkd: Beanstalkd, error: type[BaseException]
) -> None:
    """What it raises comes out of the loop; the client is in order all the same."""

    def restored() -> None:
        raise error

    async def begin() -> Client:
        client = client_of(beanstalkd)
        client.set_reconnect_callback(restored)
        await client.connect()
        return client

    async def wait(client: Client) -> None:
        beanstalkd.stop()
        beanstalkd.start()
        await asyncio.sleep(WAIT)

    async def go_on(client: Client) -> None:
        await back(client)
        await client.close()

    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(begin())
    waiting = loop.create_task(wait(client))
    with pytest.raises(error):
        loop.run_until_complete(waiting)
    waiting.cancel()
    loop.run_until_complete(go_on(client))
    loop.close()


async def test_whatever_an_attempt_raises_is_a_failure_like_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(address: object) -> None:
        raise RuntimeError("no thread for it")

    monkeypatch.setattr("beanstalkt.client.transport._resolve", resolve)
    async with nothing_left():
        client = Client("name", connect_timeout=0.05, reconnect_delay=0.01)
        with pytest.raises(ConnectionLost, match="within"):
            await asyncio.wait_for(client.connect(), WAIT)


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_move_is_made_up_for(server: AnyServer, turns: int) -> None:
    async with nothing_left(), client_of(server) as client:
        reserve = client.reserve()
        await asyncio.sleep(0)
        held = client.put(b"held")
        reserve.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        cancel_tasks_of_the_client()
        assert await asyncio.wait_for(held, WAIT) == 1


async def test_moves_that_are_cancelled_again_and_again() -> None:
    async def script(line: Line) -> None:
        if await line.command() != b"reserve":
            line.send(b"INSERTED 1\r\n")
        await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        reserve, held = client.reserve(), client.put(b"held")
        await asyncio.sleep(0)
        reserve.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
            for task in asyncio.all_tasks():
                if "_move_from" in repr(task.get_coro()):
                    task.cancel()
                    await until(task.done)
        assert await asyncio.wait_for(held, WAIT) == 1


ENDS = """
import asyncio, sys
from beanstalkt import Client

async def main():
    client = Client("127.0.0.1", int(sys.argv[1]), reconnect_delay=0.01)
    waits = client.connect()
    await asyncio.sleep(float(sys.argv[2]))

asyncio.run(main(), debug=True)
"""


@pytest.mark.parametrize("seconds", ["0", "0.001", "0.05"])
def test_a_loop_ends_while_it_connects(seconds: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDS, str(free_port()), seconds],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "never awaited" not in ended.stderr
    assert "destroyed" not in ended.stderr
