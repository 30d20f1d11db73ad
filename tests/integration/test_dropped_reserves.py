"""A job in a Future that is dropped goes back, and one that was taken does not."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from beanstalkt import Client, Job, TimedOut

from ..support.clients import client_of, nothing_reserved, until_waiting
from ..support.embedded import AnyServer
from ..support.waiting import soon


async def has_job(future: asyncio.Future[Job]) -> None:
    """Waits for the job, and does not take it."""
    await asyncio.wait_for(asyncio.wait({future}), 5)
    assert future.done()


async def test_the_job_in_a_cancelled_gather(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        gathered = asyncio.ensure_future(asyncio.gather(client.reserve(), client.reserve()))
        await until_waiting(other, 1)
        job_id = await other.put(b"x", 7)
        while (await other.stats_job(job_id))["state"] != "reserved":
            await asyncio.sleep(0.005)
        await client_has_answer(other)
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered
        del gathered
        gc.collect()
        await nothing_reserved(other)
        stats = await other.stats_job(job_id)
        assert (stats["state"], stats["pri"]) == ("ready", 7)
        assert await soon(client.put(b"y")) == 2


async def client_has_answer(other: Client) -> None:
    """Some round trips later, the reply that the server has sent on another connection is read."""
    for _ in range(20):
        await other.list_tube_used()


async def drop(client: Client) -> None:
    await has_job(client.reserve())


async def drop_reserve_job(client: Client) -> None:
    await has_job(client.reserve_job((await client.peek_ready()).id))


async def drop_shielded(client: Client) -> None:
    future = client.reserve()
    shielded = asyncio.shield(future)
    shielded.cancel()
    await has_job(future)


async def drop_in_a_cycle(client: Client) -> None:
    future: Any = client.reserve()
    await has_job(future)
    future.itself = future


async def drop_asked_for_its_error(client: Client) -> None:
    future = client.reserve()
    await has_job(future)
    assert future.exception() is None


async def drop_in_a_closed_coroutine(client: Client) -> None:
    """Its job goes back at once, and not a second time when the Future is collected."""
    future = client.reserve()

    async def wait() -> None:
        await future

    coroutine = wait()
    coroutine.send(None)
    await has_job(future)
    coroutine.close()


async def drop_in_another_thread(client: Client) -> None:
    futures = [client.reserve()]
    await has_job(futures[0])
    thread = threading.Thread(target=futures.clear)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "leave",
    [
        drop,
        drop_reserve_job,
        drop_shielded,
        drop_in_a_cycle,
        drop_asked_for_its_error,
        drop_in_a_closed_coroutine,
        drop_in_another_thread,
    ],
)
async def test_it_goes_back_with_its_priority(
    server: AnyServer, leave: Callable[[Client], Awaitable[None]]
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        job_id = await other.put(b"x", 7)
        await leave(client)
        gc.collect()
        await nothing_reserved(other)
        stats = await other.stats_job(job_id)
        assert (stats["state"], stats["pri"], stats["releases"]) == ("ready", 7, 1)


async def test_it_goes_to_the_next_reserve_that_waits(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        job_id = await other.put(b"x")
        first = client.reserve()
        await has_job(first)
        following = client.reserve()
        await until_waiting(other, 1)
        del first
        gc.collect()
        assert (await soon(following)).id == job_id
        assert (await other.stats_job(job_id))["releases"] == 0


async def test_what_was_taken_stays_with_its_taker(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await other.put_many([b"x"] * 6)
        taken: list[Job] = [await client.reserve()]
        called: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        client.reserve(callback=called.set_result)
        taken.append(await called)
        future = client.reserve()
        await has_job(future)
        taken.append(future.result())
        taken += await asyncio.gather(client.reserve(), client.reserve(5))
        taken.append(await asyncio.wait_for(client.reserve(), 5))
        ids = [job.id for job in taken]
        del future, taken
        gc.collect()
        await client.list_tube_used()
        assert (await other.stats())["current-jobs-reserved"] == 6
        for job_id in ids:
            await client.delete(job_id)


async def test_futures_without_a_job_are_dropped_quietly(server: AnyServer) -> None:
    async with client_of(server) as client:
        client.reserve().cancel()
        future = client.reserve(0)
        await asyncio.wait({future})
        assert isinstance(future.exception(), TimedOut)
        del future
        gc.collect()
        assert await soon(client.put(b"x")) == 1


async def test_an_error_that_nobody_asked_for_is_told(server: AnyServer) -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    try:
        async with client_of(server) as client:
            future = client.reserve(0)
            await asyncio.wait({future})
            del future
            gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert len(told) == 1
    assert "never retrieved" in told[0]


def test_dropped_when_the_loop_is_closed(server: AnyServer) -> None:
    kept: list[asyncio.Future[Job]] = []

    async def run() -> None:
        async with client_of(server) as client:
            await client.put(b"x")
            kept.append(client.reserve())
            await has_job(kept[0])

    asyncio.run(run())
    kept.clear()  # an error in it would be a warning, and so fail the test
    gc.collect()


async def test_dropped_when_the_client_is_closed(server: AnyServer) -> None:
    async with client_of(server) as other:
        async with client_of(server) as client:
            await client.put(b"x")
            future = client.reserve()
            await has_job(future)
        await nothing_reserved(other)
        del future
        gc.collect()
        with suppress(TimedOut):
            assert (await other.reserve(0)).body == b"x"
