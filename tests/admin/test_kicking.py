"""Kicking many jobs: those that were named, and once only."""

from __future__ import annotations

import asyncio

import pytest

from beanstalkt import Client, InvalidArgument, TimedOut
from beanstalkt.admin import change as change_module
from beanstalkt.admin import kick, kick_all, select

from ..support.clients import client_of
from ..support.embedded import AnyServer


@pytest.fixture(params=["scan", "heads"], autouse=True)
def _found_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_module, "HEAD_COST", 0 if request.param == "heads" else 10**9)


async def fill(client: Client) -> None:
    await client.put_many([b"x"] * 3, tube="a")
    await client.put_many([b"late"] * 20, delay=1000, tube="a")
    for job_id in await client.put_many([b"bad"] * 30, tube="a"):
        await (await client.reserve_job(job_id)).bury()
    await client.put_many([b"late"] * 5, delay=1000, tube="b")


async def counts(client: Client) -> tuple[int, int, int]:
    stats = await client.stats_tube("a")
    return (
        stats["current-jobs-ready"],
        stats["current-jobs-delayed"],
        stats["current-jobs-buried"],
    )


async def test_those_of_a_state_or_of_both(server: AnyServer) -> None:
    async with client_of(server) as client:
        await fill(client)
        planned = await kick(client, select("a", "delayed"), dry_run=True)
        assert (planned.done, planned.states) == (20, {"delayed": 20})
        assert (await kick(client, select("a", "delayed"), limit=5)).done == 5
        assert await counts(client) == (8, 15, 30)
        summary = await kick(client, select("a"))
        assert (summary.done, summary.states) == (45, {"buried": 30, "delayed": 15})
        assert not summary.skipped
        assert await counts(client) == (53, 0, 0)
        assert (await client.stats_tube("b"))["current-jobs-delayed"] == 5
        assert (await kick(client, select(text="late"))).done == 5
        with pytest.raises(InvalidArgument, match="ready cannot be kicked"):
            await kick(client, select("a", "ready"))


async def test_all_buried_ones_or_if_there_are_none_all_delayed_ones(server: AnyServer) -> None:
    async with client_of(server) as client:
        await fill(client)
        assert (await kick_all(client, "a")).states == {"buried": 30}
        assert await counts(client) == (33, 20, 0)
        assert (await kick_all(client, "a", dry_run=True)).states == {"delayed": 20}
        assert (await kick_all(client, "a")).states == {"delayed": 20}
        assert (await kick_all(client, "a")).done == 0
        assert (await kick_all(client, "nowhere")).done == 0


async def test_a_worker_that_buries_again_does_not_keep_it_going(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as worker:
        ids = await client.put_many([b"bad"] * 300)
        for job_id in ids:
            await (await client.reserve_job(job_id)).bury()

        async def bury_again() -> None:
            while not kicking.done():
                try:
                    await (await worker.reserve(0)).bury()
                except TimedOut:
                    await asyncio.sleep(0)

        kicking = asyncio.ensure_future(kick_all(client, "default"))
        await asyncio.wait_for(bury_again(), 20)
        assert kicking.result().done <= 300


async def test_no_delayed_job_is_kicked_when_others_kick_too(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put_many([b"late"] * 100, delay=1000)
        for job_id in await client.put_many([b"bad"] * 100):
            await (await client.reserve_job(job_id)).bury()
        one, two = await asyncio.gather(kick_all(client, "default"), kick_all(other, "default"))
        assert one.done + two.done >= 100
        assert one.states.keys() <= {"buried"}
        stats = await client.stats_tube("default")
        assert (stats["current-jobs-delayed"], stats["current-jobs-buried"]) == (100, 0)
