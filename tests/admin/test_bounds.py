"""What is done to many jobs takes bounded memory and bounded batches, however many there are."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from beanstalkt import Client
from beanstalkt.admin import Progress, clear, delete, kick, list_jobs, select
from beanstalkt.admin.change import BATCH
from beanstalkt.admin.scan import BODIES, LOOKS
from beanstalkt.client.bulk import Bulk
from beanstalkt.protocol.commands import PUT, Command

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of

JOBS = 10_000

LIMIT = 1_500_000
"""Bytes. The records alone would take two times as many if they were kept."""

IDS = 30_000


async def list_all(client: Client) -> int:
    return len([None async for _ in list_jobs(client, select("default"))])


async def clear_all(client: Client) -> int:
    return (await clear(client, select("default"))).done


async def delete_claimed(client: Client) -> int:
    return (await delete(client, select(states="delayed"), limit=2000)).done


async def kick_some(client: Client) -> int:
    return (await kick(client, select("default"))).done


@pytest.mark.parametrize("operation", [list_all, clear_all, delete_claimed, kick_some])
async def test_memory_is_flat(
    beanstalkd: Beanstalkd, operation: Callable[[Client], Awaitable[int]]
) -> None:
    async with client_of(beanstalkd) as client:
        await client.put_many((b"x" * 100 for _ in range(JOBS)), delay=10_000)
        tracemalloc.start()
        try:
            done = await operation(client)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert done >= 2000
        assert peak < LIMIT


async def use_up_ids(client: Client, count: int, every: int) -> list[int]:
    """Put and delete jobs; return the ids of those that stay."""
    ids = await client.put_many([b"x"] * count)
    for first in range(0, count, 1000):
        gone = [client.delete(each) for each in ids[first : first + 1000] if each % every]
        await asyncio.gather(*gone)
    return [each for each in ids if each % every == 0]


async def test_many_used_ids_are_looked_at_in_batches_between_which_others_get_through(
    beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.admin.scan.PROGRESS_INTERVAL", 0)
    async with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        kept = await use_up_ids(client, IDS, 1000)
        told: list[Progress] = []
        under_way: list[int] = []
        answered: list[int] = []
        connection = client._reconnector.connection
        assert connection is not None

        async def put_meanwhile(busy: Client) -> None:
            while not listing.done():
                await busy.put(b"new")
                answered.append(scan.looked_at)
                under_way.append(sum(each.missing for each in connection._in_flight))

        scan = list_jobs(client, select("default"), progress=told.append)
        tracemalloc.start()
        try:
            listing = asyncio.ensure_future(found(scan))
            await asyncio.gather(put_meanwhile(client), put_meanwhile(other))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert listing.result() == kept
        # Puts of both clients were answered all along.
        assert len(set(answered)) > 20
        assert max(under_way) <= 2 * LOOKS + 2 * BODIES + 1
        assert peak < LIMIT
        halfway = next(each for each in told if each.done > IDS // 2)
        assert halfway.total is not None
        assert IDS <= halfway.total <= IDS + len(answered)
        assert halfway.seconds_left is not None
        assert halfway.seconds_left < 10 * halfway.seconds


async def found(scan: object) -> list[int]:
    return [record.id async for record in scan]  # type: ignore[attr-defined]


async def test_what_changes_jobs_is_sent_in_bounded_batches(
    beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = Bulk.send

    def noted(bulk: Bulk, command: Command, payloads: list[bytes]) -> object:
        assert command is not PUT
        sizes.append(len(payloads))
        return send(bulk, command, payloads)

    monkeypatch.setattr(Bulk, "send", noted)
    async with client_of(beanstalkd) as client:
        await client.put_many([b"x"] * 2000, delay=10_000)
        await kick(client, select("default"))
        await clear(client, select("default"))
    assert max(sizes) == LOOKS == BATCH == 256
