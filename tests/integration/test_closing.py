"""close(): loses nothing that was acknowledged, and never hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost
from beanstalkt.client.timing import Timing

from ..support.beanstalkd import Beanstalkd
from ..support.clients import RECONNECT_DELAY, client_of
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.ports import free_port
from ..support.proxy import Proxy
from ..support.waiting import until


async def all_fail(pending: list[Any], sent: bool | None = None) -> None:
    """Each of them, without waiting long, and with this in `.sent`."""
    outcomes = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 5)
    for outcome in outcomes:
        assert isinstance(outcome, ConnectionLost), repr(outcome)
        assert str(outcome)
        assert sent is None or outcome.sent == sent


async def all_settle(pending: list[Any]) -> None:
    await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 5)


# --- nothing is lost ---


@pytest.mark.parametrize("count", [1, 2, 5000])
async def test_puts_that_nobody_waited_for_go_in(apart: Beanstalkd, count: int) -> None:
    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        puts = [client.put(b"job") for _ in range(count)]
        await client.close()
        assert [put.result() for put in puts] == list(range(1, count + 1))
    assert b"current-jobs-ready: %d\n" % count in await stats(apart)


async def stats(server: Beanstalkd) -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"stats\r\n")
    _, size = (await reader.readline()).split()
    data = await reader.readexactly(int(size))
    writer.close()
    await writer.wait_closed()
    return data


async def test_quit_comes_last_and_only_after_the_replies() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"put 2147483648 0 120 1\r\na", b"put 2147483648 0 120 1\r\nb")
        await asyncio.sleep(0.05)
        assert not line.reader._buffer  # type: ignore[attr-defined]
        line.send(b"INSERTED 1\r\n")
        await asyncio.sleep(0.01)
        line.send(b"INSERTED 2\r\n")
        await line.expect(b"quit")
        await line.end()

    async with Peer(script) as peer:
        client = client_of(peer)
        await client.connect()
        puts = [client.put(b"a"), client.put(b"b")]
        await client.close()
        assert [put.result() for put in puts] == [1, 2]


async def test_what_was_written_before_a_waiting_reserve_is_answered(
    apart: Beanstalkd,
) -> None:
    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        await client.watch("empty")
        await client.ignore("default")
        put, reserve, held = client.put(b"job"), client.reserve(), client.put(b"held")
        more = client.reserve(100)
        await client.close()
        assert await put == 1
        await all_fail([reserve], sent=True)
        await all_fail([held, more], sent=False)
    assert b"current-jobs-ready: 1\n" in await stats(apart)


async def test_a_job_that_comes_while_closing_goes_back(apart: Beanstalkd) -> None:
    async with client_of(apart) as other:
        for _ in range(20):
            client = client_of(apart)
            await client.connect()
            reserve = client.reserve()
            await asyncio.sleep(0)
            put = other.put(b"job")
            await client.close()
            await all_settle([reserve])
            job = await other.reserve(5)
            assert job.id == await put
            await job.delete()


async def test_put_many_under_way(apart: Beanstalkd) -> None:
    client = client_of(apart)
    await client.connect()
    many = client.put_many(b"job" for _ in range(100_000))
    await until(lambda: not many.done())
    await client.close()
    with pytest.raises(ConnectionLost) as error:
        await many
    ids = [job_id for job_id in error.value.ids or [] if job_id]
    assert ids
    assert b"current-jobs-ready: %d\n" % len(ids) in await stats(apart)


# --- it ends ---


async def test_a_frozen_server_does_not_hold_it_up(apart: Beanstalkd) -> None:
    assert Timing().close_timeout == 5
    async with nothing_left():
        client = client_of(apart, timing=Timing(close_timeout=0.2))
        await client.connect()
        await client.put(b"job")
        apart.freeze()
        pending: list[Awaitable[Any]] = [client.put(b"job"), client.put(bytes(30_000_000))]
        reserve, held = client.reserve(), client.stats()
        await asyncio.wait_for(client.close(), 5)
        await all_fail([*pending], sent=True)
        await all_fail([reserve, held], sent=False)
        assert client.closed()


async def test_twice(apart: Beanstalkd) -> None:
    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        put = client.put(b"job")
        calls: list[tuple[object, ...]] = []
        closing = [client.close(lambda *values: calls.append(values)) for _ in range(2)]
        await asyncio.gather(*closing)
        assert put.result() == 1
        await client.close(lambda *values: calls.append(values))
        await until(lambda: len(calls) == 3)
        assert calls == [()] * 3
        assert client.closed()


async def test_before_connect() -> None:
    async with nothing_left():
        client = Client("127.0.0.1", free_port())
        await client.close()
        await client.close()
        assert client.closed()


@pytest.mark.parametrize("turns", range(8))
async def test_while_connecting(apart: Beanstalkd, turns: int) -> None:
    async with nothing_left():
        client = client_of(apart)
        connecting = client.connect()
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(client.close(), 5)
        assert connecting.done()
        assert connecting.exception() is None or isinstance(connecting.exception(), ConnectionLost)
        assert client.closed()
        with pytest.raises(ConnectionLost):
            await client.put(b"job")
    await until_alone(apart)


async def until_alone(server: Beanstalkd) -> None:
    """Until the server has no connection besides the one that asks."""
    while b"current-connections: 1\n" not in await stats(server):
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_while_reconnecting(turns: int) -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"put 2147483648 0 120 0\r\n")
        else:
            await line.end()

    async with nothing_left(), Peer(script) as peer:
        client = client_of(peer)
        await client.connect()
        reserves = [client.reserve(), client.reserve(100)] if turns % 2 else []
        if not reserves:
            await all_fail([client.put(b"")])
        else:
            peer.lines[0].reset()
            await until(lambda: client.closed() or len(peer.lines) == 2)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(client.close(), 5)
        await all_fail(reserves)
        accepted = len(peer.lines)
        await asyncio.sleep(2 * RECONNECT_DELAY)
        assert len(peer.lines) == accepted
        assert client.closed()


async def test_at_any_moment_of_attempts_that_fail(apart: Beanstalkd) -> None:
    apart.stop()
    async with nothing_left():
        for turns in range(100):
            client = Client(apart.host, apart.port, reconnect_delay=0.0001)
            connecting = client.connect()
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(client.close(), 5)
            await all_fail([connecting])


async def test_during_the_replay() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"use x")
        if len(peer.lines) == 1:
            line.send(b"USING x\r\n")
            await line.expect(b"reserve")
        else:
            await line.end()

    async with nothing_left(), Peer(script) as peer:
        client = client_of(peer)
        await client.connect()
        await client.use("x")
        reserve = client.reserve()
        await until(lambda: len(peer.lines) == 2 and peer.lines[1].commands)
        await asyncio.wait_for(client.close(), 5)
        await all_fail([reserve])


@pytest.mark.parametrize("again", [False, True])
async def test_inside_the_reconnect_callback(apart: Beanstalkd, again: bool) -> None:
    futures: list[asyncio.Future[None]] = []

    def callback() -> None:
        futures.append(client.close())
        if again:
            futures.append(client.connect())
            assert client.closed()

    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        client.set_reconnect_callback(callback)
        reserve = client.reserve()
        apart.restart()
        await until(lambda: futures)
        await all_fail([reserve])
        await asyncio.wait_for(asyncio.gather(*futures), 5)
        assert client.closed() is not again
        if again:
            await client.put(b"job")
        await client.close()
    await until_alone(apart)


async def test_inside_the_callback_of_a_verb(apart: Beanstalkd) -> None:
    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        done = asyncio.Event()
        later = [client.put(b"1", callback=lambda _: client.close(lambda: done.set()))]
        later += [client.put(b"%d" % number) for number in range(2, 10)]
        await asyncio.wait_for(done.wait(), 5)
        assert [put.result() for put in later] == list(range(1, 10))


async def test_while_a_reserve_that_nobody_wants_is_left_behind(apart: Beanstalkd) -> None:
    for turns in range(30):
        async with nothing_left():
            client = client_of(apart)
            await client.connect()
            reserve, held = client.reserve(), client.put(b"job")
            await asyncio.sleep(0)
            reserve.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(client.close(), 5)
            assert held.done()
            if held.exception() is not None:
                await all_fail([held], sent=False)
    await until_alone(apart)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_the_server_goes_while_closing(moment: str) -> None:
    async def script(line: Line) -> None:
        await line.expect(b"delete 1", b"reserve", b"reserve-with-timeout 100")
        if moment == "before":
            line.reset()
        await closing.wait()
        line.reset()

    closing = asyncio.Event()
    async with nothing_left(), Peer(script) as peer:
        client = client_of(peer)
        await client.connect()
        pending: list[Awaitable[Any]] = [client.delete(1), client.reserve(), client.reserve(100)]
        held = client.put(b"held")
        await until(lambda: len(peer.lines[0].commands) == 3)
        close = client.close()
        if moment == "after":
            await asyncio.sleep(0.01)
        closing.set()
        await asyncio.wait_for(close, 5)
        await all_fail(pending, sent=True)
        await all_fail([held], sent=False)
        await asyncio.sleep(2 * RECONNECT_DELAY)
        assert len(peer.lines) == 1


async def test_the_loss_was_known_but_not_yet_told(apart: Beanstalkd) -> None:
    """The stream closes in one turn of the loop, and tells it in the next."""
    async with nothing_left():
        for turns in range(10):
            client = client_of(apart)
            await client.connect()
            reserve = client.reserve()
            await asyncio.sleep(0.001)
            apart.kill()
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(client.close(), 5)
            await all_fail([reserve])
            apart.start()


async def test_a_close_that_is_cancelled_ends_the_connection_all_the_same(
    apart: Beanstalkd,
) -> None:
    async with nothing_left():
        for turns in range(4):
            client = client_of(apart)
            await client.connect()
            reserve, held = client.reserve(), client.put(b"job")
            closing = client.close()
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            await all_fail([reserve, held])
            assert client.closed()
    await until_alone(apart)


async def test_cancelled_with_a_frozen_server_it_ends_at_once(apart: Beanstalkd) -> None:
    async with nothing_left():
        client = client_of(apart, timing=Timing(close_timeout=60))
        await client.connect()
        apart.freeze()
        put = client.put(b"job")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.close(), 0.05)
        await all_fail([put], sent=True)


# --- and begins again ---


async def test_connect_after_close(apart: Beanstalkd) -> None:
    async with nothing_left():
        client = client_of(apart)
        for number in (1, 2, 3):
            await client.connect()
            assert await client.put(b"job") == number
            await client.close()
            with pytest.raises(ConnectionLost, match="closed"):
                await client.put(b"job")


async def test_connect_and_close_again_while_it_still_closes(apart: Beanstalkd) -> None:
    async with nothing_left():
        client = client_of(apart)
        await client.connect()
        put = client.put(b"job")
        first, connecting = client.close(), client.connect()
        await connecting
        assert not client.closed()
        await first
        assert not client.closed()
        assert put.result() == 1
        assert await client.put(b"job") == 2
        client.close()
        connecting = client.connect()
        await asyncio.wait_for(client.close(), 5)
        assert client.closed()
        await all_fail([connecting])
    await until_alone(apart)


async def test_it_does_not_connect_again_by_itself(apart: Beanstalkd) -> None:
    async with Proxy(apart.host, apart.port) as proxy:
        client = client_of(proxy, timing=Timing(attempt_timeout=0.05))
        await client.connect()
        await client.put(b"job")
        await client.close()
        await asyncio.sleep(3 * RECONNECT_DELAY)
        assert proxy.accepted == 1


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_a_client_that_nobody_closed_does_not_keep_the_loop(turns: int) -> None:
    """asyncio.run cancels what is left, and waits for it."""

    async def main() -> None:
        # The next attempt must not be due while the loop itself is being closed.
        client = Client("127.0.0.1", free_port(), reconnect_delay=0.2)
        client.connect().add_done_callback(lambda future: future.cancelled() or future.exception())
        for _ in range(turns):
            await asyncio.sleep(0)

    thread = threading.Thread(target=asyncio.run, args=[main()], daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
