"""The reserve that goes with a delete, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from beanstalkt import Client, Job, NotFound, ReservationLost
from beanstalkt.worker.prefetch import Prefetch

from ..support.embedded import AnyServer
from ..support.writes import Writes

PRIORITY = 7


@asynccontextmanager
async def two(server: AnyServer) -> AsyncIterator[tuple[Client, Client]]:
    """A worker's client, and somebody else's."""
    async with Client.from_url(server.url) as client, Client.from_url(server.url) as other:
        yield client, other


async def state(client: Client, job_id: int) -> tuple[str, int]:
    stats = await client.stats_job(job_id)
    return stats["state"], stats["pri"]


async def taken_away(client: Client, other: Client) -> Job:
    """A job whose delete will be refused."""
    await client.put(b"gone")
    job = await client.reserve()
    await client.release(job)
    await other.delete(job.id)
    return job


async def test_the_next_job_comes_with_the_delete(server: AnyServer) -> None:
    async with two(server) as (client, other):
        ids = [await other.put(b"%d" % n) for n in range(3)]
        prefetch = Prefetch()
        seen = []
        for _ in ids:
            job = await prefetch.next(client)
            seen.append(job.id)
            await prefetch.delete(client, job)
        assert seen == ids
        waiting = prefetch.next(client)
        last = await other.put(b"last")
        assert (await waiting).id == last


async def test_they_leave_in_one_write(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two(server) as (client, other):
        job_id = await other.put(b"x")
        prefetch = Prefetch()
        job = await prefetch.next(client)
        writes = Writes(server.port, monkeypatch)
        await prefetch.delete(client, job)
        assert writes.take() == [b"delete %d\r\nreserve\r\n" % job_id]
        prefetch.cancel()


async def test_a_failed_delete_gives_the_next_job_back(server: AnyServer) -> None:
    async with two(server) as (client, other):
        prefetch = Prefetch()
        job = await taken_away(client, other)
        next_id = await other.put(b"next", priority=PRIORITY)
        with pytest.raises(NotFound):
            await prefetch.delete(client, job)
        assert await state(client, next_id) == ("ready", PRIORITY)
        assert (await prefetch.next(client)).id == next_id


async def test_a_failed_delete_waits_for_no_job(server: AnyServer) -> None:
    async with two(server) as (client, other):
        prefetch = Prefetch()
        job = await taken_away(client, other)
        with pytest.raises(NotFound):
            await asyncio.wait_for(prefetch.delete(client, job), 5)
        # A command that follows does not wait for the cancelled reserve.
        assert await asyncio.wait_for(client.list_tube_used(), 5) == "default"
        later = await other.put(b"later", priority=PRIORITY)
        assert await state(client, later) == ("ready", PRIORITY)


async def test_a_job_of_another_connection_is_not_deleted_and_none_reserved(
    server: AnyServer,
) -> None:
    async with two(server) as (client, other):
        await client.put(b"x")
        prefetch = Prefetch()
        job = await prefetch.next(client)
        await client.close()
        await client.connect()
        with pytest.raises(ReservationLost):
            await prefetch.delete(client, job)
        stats = await other.stats_job(job.id)
        assert (stats["state"], stats["reserves"]) == ("ready", 1)


async def test_a_cancelled_delete_reserves_nothing(server: AnyServer) -> None:
    async with two(server) as (client, other):
        first, second = await other.put(b"first"), await other.put(b"second", priority=PRIORITY)
        prefetch = Prefetch()
        job = await client.reserve_job(first)
        task = asyncio.ensure_future(prefetch.delete(client, job))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while (await state(client, second)) != ("ready", PRIORITY):
            await asyncio.sleep(0.01)


async def test_dropped_before_and_after_a_job_has_come(server: AnyServer) -> None:
    async with two(server) as (client, other):
        prefetch = Prefetch()
        assert prefetch.cancel() is None
        await other.put(b"first")
        await prefetch.delete(client, await prefetch.next(client))
        assert prefetch.cancel() is None
        assert prefetch.cancel() is None
        await other.put(b"second")
        second = await prefetch.next(client)
        third = await other.put(b"third")
        await prefetch.delete(client, second)
        await client.list_tubes()  # behind the reserve's reply
        dropped = prefetch.cancel()
        assert dropped is not None
        assert dropped.id == third
        await client.close()
        while (await state(other, third))[0] != "ready":
            await asyncio.sleep(0.01)


async def test_dropped_when_the_connection_went(server: AnyServer) -> None:
    async with two(server) as (client, other):
        await other.put(b"x")
        prefetch = Prefetch()
        await prefetch.delete(client, await prefetch.next(client))
        await client.close()
        assert prefetch.cancel() is None
