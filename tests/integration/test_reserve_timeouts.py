"""Every reserve keeps its own timeout, whatever waits in front of it at the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost, TimedOut
from beanstalkt.client.pipeline import GRACE

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of, nothing_reserved, priority_is_kept, until_waiting
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.proxy import Proxy
from ..support.waiting import soon, until

LATE = 8  # seconds; without its own timeout a reserve would wait until the test ends


async def cancelled(client: Client, timeout: int | None = None) -> None:
    """Has a reserve wait at the server whose caller is gone."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.reserve(timeout), 0.05)


async def times_out(reserve: Awaitable[Any], after: float) -> None:
    begin = time.monotonic()
    with pytest.raises(TimedOut) as error:
        await asyncio.wait_for(reserve, LATE)
    assert time.monotonic() - begin > after - 0.1
    assert error.value.command == "reserve-with-timeout"


@pytest.mark.parametrize("first", [None, 20])
@pytest.mark.parametrize("timeout", [0, 1])
async def test_behind_a_cancelled_one_with_no_job_held(
    server: AnyServer, first: int | None, timeout: int
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await cancelled(client, first)
        await times_out(client.reserve(timeout), timeout)
        # It went on elsewhere: the server has no reserve of ours any more.
        await until_waiting(other, 0)
        assert (await other.stats())["current-connections"] == 2
        # And a job that was there all the time is found, without waiting.
        await cancelled(client, first)
        await client.put(b"x")
        assert (await soon(client.reserve(0))).body == b"x"


@pytest.mark.parametrize("first", [None, 20])
@pytest.mark.parametrize("timeout", [0, 1])
async def test_behind_a_cancelled_one_with_a_job_held(
    server: AnyServer, first: int | None, timeout: int
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"held")
        held = await client.reserve()
        await cancelled(client, first)
        await times_out(client.reserve(timeout), timeout)
        await times_out(client.reserve(timeout), timeout)
        assert (await other.stats_job(held))["state"] == "reserved"
        # The cancelled one still waits at the server, and those that timed out do not.
        await until_waiting(other, 1)
        job_id = await other.put(b"x", 77)
        await nothing_else_reserved(other, held.id)
        assert (await other.stats_job(job_id))["pri"] == 77
        await soon(held.delete())
        await priority_is_kept(server, job_id, 77)


async def nothing_else_reserved(client: Client, held: int) -> None:
    while (await client.stats())["current-jobs-reserved"] != 1:
        await asyncio.sleep(0.005)
    assert (await client.stats_job(held))["state"] == "reserved"


async def test_its_job_goes_to_the_next_reserve_that_waits(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"held")
        held = await client.reserve()
        await cancelled(client)
        timed, plain = client.reserve(1), client.reserve()
        await times_out(timed, 1)
        job_id = await other.put(b"x", ttr=3)
        job = await soon(plain)
        assert job.id == job_id
        assert (await other.stats_job(job_id))["releases"] == 0
        # What the plain one had written for it still waits: DEADLINE_SOON ends that.
        await asyncio.wait_for(job.delete(), 15)
        await soon(held.delete())


@pytest.mark.parametrize("holds", [False, True])
async def test_a_loop_of_jobs_ends(server: AnyServer, holds: bool) -> None:
    async with client_of(server) as client:
        if holds:
            await client.put(b"held")
            await client.reserve()
        await cancelled(client)

        async def consume() -> list[int]:
            return [job.id async for job in client.jobs(timeout=1)]

        assert await asyncio.wait_for(consume(), LATE) == []


async def test_a_put_behind_such_a_pair_goes_in(server: AnyServer) -> None:
    async with client_of(server) as client:
        await cancelled(client)
        timed, put, asked = client.reserve(1), client.put(b"x"), client.reserve_job(1)
        with pytest.raises(TimedOut):
            await asyncio.wait_for(timed, LATE)
        assert await soon(put) == 1
        assert (await soon(asked)).id == 1


async def test_a_put_behind_such_a_pair_waits_for_deadline_soon_at_most(
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        await client.put(b"held", ttr=3)
        held = await client.reserve()
        await cancelled(client)
        timed, put = client.reserve(1), client.put(b"x")
        await times_out(timed, 1)
        assert await asyncio.wait_for(put, 15) == 2
        await soon(held.delete())


async def test_behind_a_live_one(server: AnyServer) -> None:
    """Those that wait on one client at the same time wait no longer than each of them alone."""
    async with client_of(server) as client, client_of(server) as other:
        plain = client.reserve()
        begin = time.monotonic()
        timed = [client.reserve(1) for _ in range(20)]
        now = client.reserve(0)
        put = client.put(b"held")  # and a reserve behind it
        held = client.reserve(2)
        for reserve in (now, *timed, held):
            with pytest.raises(TimedOut):
                await asyncio.wait_for(reserve, LATE)
        assert 1.9 < time.monotonic() - begin < LATE
        assert not plain.done()
        await other.put(b"x")
        assert (await soon(plain)).body == b"x"
        put.cancel()


async def test_one_after_the_other_at_the_same_time(server: AnyServer) -> None:
    async with client_of(server) as client:
        begin = time.monotonic()
        results = await asyncio.wait_for(
            asyncio.gather(*[client.reserve(1) for _ in range(30)], return_exceptions=True), 15
        )
        assert all(isinstance(each, TimedOut) for each in results)
        assert time.monotonic() - begin > 0.9
        assert await soon(client.put(b"x")) == 1


async def test_a_job_that_comes_in_time(server: AnyServer) -> None:
    for holds in (False, True):
        async with client_of(server) as client, client_of(server) as other:
            if holds:
                await other.put(b"held")
                await client.reserve()
            await cancelled(client)
            timed = client.reserve(20)
            await asyncio.sleep(0.05)
            job_id = await other.put(b"x", 5)
            job = await soon(timed)
            assert job.id == job_id
            assert (await other.stats_job(job_id))["releases"] == 0
            if not holds:
                await soon(job.delete())


async def test_short_waits_leave_nothing_at_the_server(server: AnyServer) -> None:
    """While a job is held: each of them would hold up the settling at the end."""
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"held")
        held = await client.reserve()
        for timeout in (20, None, 20, 30, None, 20, 20):
            await cancelled(client, timeout)
        before = (await other.stats())["cmd-reserve"]
        assert (await other.stats())["cmd-reserve-with-timeout"] + before == 2  # with that of held
        last = client.reserve(20)
        job_id = await other.put(b"x")
        assert (await soon(last)).id == job_id
        await soon(held.delete())


async def test_the_end_of_a_timed_reserve_is_not_the_end_of_one_that_took_its_place(
    server: AnyServer,
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"held")
        held = await client.reserve()
        await cancelled(client, 1)
        # It waits for the job of that one, which comes back without a job first.
        longer, plain = client.reserve(2), client.reserve()
        begin = time.monotonic()
        with pytest.raises(TimedOut):
            await asyncio.wait_for(longer, LATE)
        assert time.monotonic() - begin > 1.9
        job_id = await other.put(b"x")
        assert (await soon(plain)).id == job_id
        await soon(held.delete())


@pytest.mark.parametrize("holds", [False, True])
async def test_a_cancelled_one_that_brings_no_job_is_followed_by_another(
    server: AnyServer, holds: bool
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        if holds:
            await client.put(b"held")
            await client.reserve()
        await cancelled(client, 1)
        plain = client.reserve()
        while (await other.stats())["cmd-reserve"] < 1 + holds:
            await asyncio.sleep(0.01)
        job_id = await other.put(b"x")
        assert (await soon(plain)).id == job_id


async def test_one_that_is_held_keeps_its_timeout_when_it_is_written(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        first, put, held = client.reserve(), client.put(b"mine", delay=100), client.reserve(3)
        begin = time.monotonic()
        await asyncio.sleep(1.5)
        await other.put(b"x")
        await soon(first)
        await put
        with pytest.raises(TimedOut):
            await asyncio.wait_for(held, LATE)
        assert 2.9 < time.monotonic() - begin < 4.4


# --- peers that are slow, and such that are gone ---------------------------------------------


async def test_a_reserve_behind_a_slow_reply_is_not_ended_before_its_turn() -> None:
    """The priority is looked up first; until then no job can come."""

    async def play(line: Line) -> None:
        await line.expect(b"stats-job 5")
        await asyncio.sleep(3 * GRACE)
        line.send(b"OK 10\r\n---\npri: 5\r\n")
        await line.expect(b"release 5 5 0", b"reserve-with-timeout 0")
        line.send(b"RELEASED\r\nRESERVED 5 1\r\nx\r\n")
        await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        released, reserve = client.release(5, None), client.reserve(0)
        await released
        assert (await soon(reserve)).id == 5


@pytest.mark.parametrize("timeout", [0, 1])
async def test_a_server_that_accepts_no_second_connection(server: AnyServer, timeout: int) -> None:
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(proxy.host, proxy.port, response_timeout=1.5, reconnect_delay=0.05) as client,
    ):
        await cancelled(client)
        proxy.stop_listening()
        await times_out(client.reserve(timeout), timeout)
        put = client.put(b"x")
        with pytest.raises(ConnectionLost, match="was cancelled") as error:
            await asyncio.wait_for(put, LATE)
        assert error.value.sent is False
        await proxy.listen()
        await until(lambda: not client.closed())
        assert await soon(client.put(b"x")) == 1


async def test_a_server_that_is_frozen(apart: Beanstalkd) -> None:
    async with nothing_left(), client_of(apart, response_timeout=1) as client:
        await cancelled(client)
        apart.freeze()
        await times_out(client.reserve(1), 1)
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(client.put(b"x"), LATE)
        apart.thaw()


async def test_the_connection_is_lost_meanwhile(apart: Beanstalkd) -> None:
    """What is left of the timeout goes on, on the next connection or on none."""
    for starts_again in (True, False):
        async with nothing_left(), client_of(apart, reconnect_delay=0.05) as client:
            await client.put(b"held")
            await client.reserve()
            await cancelled(client)
            begin = time.monotonic()
            timed, plain = client.reserve(2), client.reserve()
            await asyncio.sleep(0.3)
            apart.kill()
            if starts_again:
                apart.start()
            with pytest.raises(TimedOut):
                await asyncio.wait_for(timed, LATE)
            assert time.monotonic() - begin > 1.9
            assert not plain.done()
            if starts_again:
                async with client_of(apart) as other:
                    await other.put(b"x")
                    job = await soon(plain)
                    assert job.body == b"x"
                    await soon(job.delete())
            else:
                plain.cancel()


async def test_closing_ends_them_all(server: AnyServer) -> None:
    async with nothing_left():
        for holds in (False, True):
            client = client_of(server)
            await client.connect()
            if holds:
                await client.put(b"held")
                await client.reserve()
            await cancelled(client)
            reserves = [client.reserve(1), client.reserve(), client.reserve(0)]
            put = client.put(b"x")
            reserves.append(client.reserve(5))
            await client.close()
            ended: list[asyncio.Future[Any]] = [*reserves, put]
            for each in ended:
                with pytest.raises(ConnectionLost):
                    await soon(each)


async def test_cancelled_at_every_moment(server: AnyServer) -> None:
    """Callers that come and go, with and without a timeout: no job is lost or doubled."""
    async with client_of(server) as client, client_of(server) as other:
        got: list[int] = []

        async def consume(number: int) -> None:
            while len(got) < 60:
                timeout = (None, 1, 20, 0)[number % 4]
                wait = 0.003 * (number + 1)
                with suppress(TimedOut, asyncio.TimeoutError):
                    job = await asyncio.wait_for(client.reserve(timeout), wait)
                    got.append(job.id)
                await asyncio.sleep(0)

        consumers = [asyncio.ensure_future(consume(number)) for number in range(8)]
        ids = []
        while len(got) < 60:
            ids.append(await other.put(b"x"))
            await asyncio.sleep(0.005)
        await asyncio.wait_for(asyncio.gather(*consumers), LATE)
        assert len(set(got)) == len(got)
        await client.close()
        await nothing_reserved(other)
        assert (await other.stats())["current-jobs-ready"] == len(ids)
