"""response_timeout: how long a reply may take, and what does not count."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost, TimedOut
from beanstalkt.client.timing import Timing

from ..support.beanstalkd import Beanstalkd
from ..support.both import InThread, Kind
from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.proxy import Proxy
from ..support.waiting import until

REPLY_TIMEOUT = 0.2  # seconds


def impatient_client(
    server: AnyServer | Peer | Proxy, kind: Kind = Client, **options: Any
) -> Client:
    """Return a client that waits for each reply for REPLY_TIMEOUT."""
    return client_of(server, kind, **{"response_timeout": REPLY_TIMEOUT, **options})


async def back(client: Client) -> None:
    """Wait until it is connected again, which the blocking one is only when it is told to."""
    if isinstance(client, InThread):
        await client.back()
    else:
        await until(lambda: not client.closed())


VERBS: list[Callable[[Client], Awaitable[Any]]] = [
    lambda client: client.put(b"job"),
    lambda client: client.put_many([b"job"] * 2000),
    lambda client: client.use("x"),
    lambda client: client.reserve(0),
    lambda client: client.reserve_job(1),
    lambda client: client.delete(1),
    lambda client: client.stats(),
]


async def test_a_frozen_server_is_noticed(kind: Kind, apart: Beanstalkd) -> None:
    async with nothing_left(), impatient_client(apart, kind) as client:
        for verb in VERBS:
            await back(client)
            apart.freeze()
            begin = time.monotonic()
            with pytest.raises(ConnectionLost, match="within") as error:
                await asyncio.wait_for(verb(client), 10)
            assert time.monotonic() - begin > 0.9 * REPLY_TIMEOUT
            assert error.value.sent
            apart.thaw()
        await back(client)
        await client.put(b"job")


async def test_a_peer_that_drips_is_noticed(kind: Kind) -> None:
    async def script(line: Line) -> None:
        await line.command()
        line.send(b"OK 100000\r\n")
        while True:
            line.send(b"-")
            await asyncio.sleep(REPLY_TIMEOUT / 20)

    async with Peer(script) as peer, impatient_client(peer, kind) as client:
        with pytest.raises(ConnectionLost, match="within"):
            await asyncio.wait_for(client.stats(), 10)


async def test_it_counts_only_while_a_place_is_the_oldest() -> None:
    async def script(line: Line) -> None:
        for number in range(8):
            await line.command()
            await asyncio.sleep(REPLY_TIMEOUT / 3)
            line.send(b"INSERTED %d\r\n" % number)
        await line.end()

    async with Peer(script) as peer, impatient_client(peer) as client:
        puts = [client.put(b"job") for _ in range(8)]
        assert await asyncio.gather(*puts) == list(range(8))
        assert len(peer.lines) == 1


async def test_an_idle_connection_is_left_alone(kind: Kind, server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy, impatient_client(proxy, kind) as client:
        await client.put(b"job")
        await asyncio.sleep(3 * REPLY_TIMEOUT)
        await client.put(b"job")
        assert proxy.accepted == 1


async def test_a_reserve_may_take_its_own_timeout_besides(kind: Kind, server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy, impatient_client(proxy, kind) as client:
        with pytest.raises(TimedOut, match="TIMED_OUT"):
            await client.reserve(1)
        assert proxy.accepted == 1


async def test_a_reserve_that_nobody_answers_after_its_timeout(
    kind: Kind, server: AnyServer
) -> None:
    async with Proxy(server.host, server.port) as proxy, impatient_client(proxy, kind) as client:
        begin = time.monotonic()
        reserve = client.reserve(1)
        await until(lambda: proxy.up.passed)
        proxy.down.open.clear()
        with pytest.raises(TimedOut, match="lost"):
            await reserve
        assert time.monotonic() - begin > 0.9 * (1 + REPLY_TIMEOUT)
        proxy.down.open.set()
        await back(client)
        await client.put(b"job")
        assert proxy.accepted == 2


async def test_a_plain_reserve_waits_for_ever(server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy, impatient_client(proxy) as client:
        reserve, held = client.reserve(), client.put(b"held")
        await asyncio.sleep(4 * REPLY_TIMEOUT)
        assert not reserve.done()
        async with impatient_client(server) as other:
            await other.put(b"job")
        assert (await reserve).body == b"job"
        assert await held == 2
        assert proxy.accepted == 1
        # From here on the count runs again.
        proxy.down.open.clear()
        with pytest.raises(ConnectionLost, match="within"):
            await asyncio.wait_for(client.put(b"job"), 10)
        proxy.down.open.set()


async def test_behind_a_plain_reserve_the_count_begins_with_its_reply() -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"put 2147483648 0 120 0\r\n", b"reserve")
            line.send(b"INSERTED 1\r\n")
            await asyncio.sleep(2 * REPLY_TIMEOUT)
            line.send(b"RESERVED 1 0\r\n\r\n")
            await line.expect(b"touch 1")
        await line.end()

    async with Peer(script) as peer, impatient_client(peer) as client:
        put, reserve, touch = client.put(b""), client.reserve(), client.touch(1)
        assert await put == 1
        assert (await reserve).id == 1
        begin = time.monotonic()
        with pytest.raises(ConnectionLost, match="within"):
            await touch
        assert time.monotonic() - begin > 0.9 * REPLY_TIMEOUT


# --- a loop that is blocked by the user's code ---


async def test_what_came_while_the_loop_was_blocked_came_in_time(server: AnyServer) -> None:
    async with impatient_client(server) as client:
        for _ in range(3):
            puts = [client.put(b"job") for _ in range(1000)]
            await asyncio.sleep(0)
            time.sleep(2 * REPLY_TIMEOUT)
            await asyncio.gather(*puts)


async def test_what_was_held_is_not_late_when_the_loop_is_blocked(server: AnyServer) -> None:
    """It is let go in the turn that wakes the user's code, which blocks before it is written."""
    async with (
        Proxy(server.host, server.port) as proxy,
        impatient_client(proxy) as client,
        impatient_client(server) as other,
    ):
        reserve, held = client.reserve(), client.put(b"held")
        await other.put(b"job")
        await reserve
        time.sleep(2 * REPLY_TIMEOUT)
        assert await held == 2


async def test_a_big_body_is_not_late_when_the_loop_is_blocked() -> None:
    server = Beanstalkd("-z", "50000000")
    server.start()
    try:
        async with impatient_client(server, response_timeout=0.5) as client:
            put = client.put(bytes(20_000_000))
            await asyncio.sleep(0)
            time.sleep(0.7)
            assert await put == 1
    finally:
        server.stop()


async def test_a_loop_that_is_blocked_all_the_time_notices_a_frozen_server(
    apart: Beanstalkd,
) -> None:
    async with impatient_client(apart) as client:
        await client.put(b"job")
        apart.freeze()
        put = client.put(b"job")
        for _ in range(100):
            await asyncio.sleep(0)
            time.sleep(REPLY_TIMEOUT / 4)
            if put.done():
                break
        assert isinstance(put.exception(), ConnectionLost)
        apart.thaw()


# --- long bodies ---

BODY = bytes(10_000_000)
STEP = (
    100_000  # bytes in a hundredth of a second: the body takes a second, many times REPLY_TIMEOUT
)


def small_buffers(line: Line, client: Client) -> None:
    """Has few bytes be in the hands of the system, where nobody sees them move."""
    line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    connection: Any = client._reconnector.connection
    connection._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)


async def take(line: Line, count: int) -> None:
    while count:
        count -= len(await line.reader.read(min(count, STEP)))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("ahead", [False, True])
async def test_while_a_long_body_goes_out_nothing_is_late(ahead: bool) -> None:
    async def script(line: Line) -> None:
        if ahead:  # another command is the oldest while the body goes
            await line.expect(b"delete 1")
        header = await line.reader.readline()
        await take(line, int(header.split()[-1]) + 2)
        line.send(b"DELETED\r\n" * ahead + b"INSERTED 1\r\n")
        await line.end()

    async with Peer(script) as peer, impatient_client(peer) as client:
        await until(lambda: peer.lines)
        small_buffers(peer.lines[0], client)
        if ahead:
            delete = client.delete(1)
        assert await asyncio.wait_for(client.put(BODY), 20) == 1
        if ahead:
            await delete
        assert len(peer.lines) == 1


async def test_while_a_long_body_comes_in_nothing_is_late(kind: Kind) -> None:
    async def script(line: Line) -> None:
        await line.expect(b"peek 1")
        line.send(b"FOUND 1 %d\r\n" % len(BODY))
        for begin in range(0, len(BODY), STEP):
            line.send(BODY[begin : begin + STEP])
            await asyncio.sleep(0.01)
        line.send(b"\r\n")
        await line.end()

    async with Peer(script) as peer, impatient_client(peer, kind) as client:
        assert (await asyncio.wait_for(client.peek(1), 20)).body == BODY
        assert len(peer.lines) == 1


@pytest.mark.parametrize("way", ["out", "in"])
async def test_a_long_body_that_stops_half_way_is_noticed(way: str) -> None:
    stopped = 0.0

    async def script(line: Line) -> None:
        nonlocal stopped
        if len(peer.lines) == 1 and way == "out":
            await take(line, len(BODY) // 2)
        elif len(peer.lines) == 1:
            await line.command()
            line.send(b"FOUND 1 %d\r\n" % len(BODY) + BODY[:-1])
            await line.writer.drain()
        stopped = stopped or time.monotonic()
        await asyncio.sleep(20)

    async with Peer(script) as peer, impatient_client(peer) as client:
        await until(lambda: peer.lines)
        small_buffers(peer.lines[0], client)
        verb: Awaitable[Any] = client.put(BODY) if way == "out" else client.peek(1)
        with pytest.raises(ConnectionLost, match="within"):
            await asyncio.wait_for(verb, 20)
        assert time.monotonic() - stopped > 0.9 * REPLY_TIMEOUT


# --- no limit at all ---


@pytest.mark.parametrize("huge", [float("inf"), 2**63, 10**400], ids=["inf", "2**63", "10**400"])
async def test_without_a_limit_the_timers_of_others_go_on(
    huge: float,
) -> None:
    timing = Timing(close_timeout=0.01)

    async def silent(line: Line) -> None:
        await line.end()

    async with (
        Peer(silent) as peer,
        client_of(peer, response_timeout=huge, connect_timeout=huge, timing=timing) as endless,
        impatient_client(peer) as client,
    ):
        put, reserve = endless.put(b"job"), endless.reserve(1)
        for _ in range(2):
            await until(lambda: not client.closed())
            with pytest.raises(ConnectionLost, match="within"):
                await asyncio.wait_for(client.put(b"job"), 10)
        await asyncio.sleep(0.01)
        assert not put.done()
        assert not reserve.done()
    assert isinstance(put.exception(), ConnectionLost)
    assert isinstance(reserve.exception(), ConnectionLost)
