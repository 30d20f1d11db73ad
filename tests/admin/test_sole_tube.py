"""Where one tube has all jobs, they are deleted without a look; only where that is proven."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from beanstalkt import Client, NotFound
from beanstalkt.admin import Progress, Summary, clear, select
from beanstalkt.admin import sole_tube as module
from beanstalkt.admin.record import STATES
from beanstalkt.admin.sole_tube import SoleTubeDeletion, proven

from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.waiting import until, until_awaited

TUBE = {f"current-jobs-{state}": count for state, count in zip(STATES, (3, 2, 1, 1), strict=True)}
SERVER = {
    "id": "a",
    "cmd-put": 9,
    "total-jobs": 9,
    "cmd-delete": 2,
    "binlog-current-index": 0,
    **TUBE,
}


def test_the_highest_id_is_proven_where_nothing_speaks_against_it() -> None:
    assert proven(SERVER, TUBE, SERVER) == 9
    assert proven({**SERVER, "binlog-current-index": 1}, TUBE, SERVER) == 9


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"total-jobs": 8}, {"total-jobs": 8}),  # a put has failed, or is under way
        ({"binlog-current-index": 2}, {"binlog-current-index": 2}),
        ({"cmd-put": 10, "total-jobs": 10}, {}),
        ({}, {"cmd-put": 10, "total-jobs": 10}),
        ({}, {"cmd-put": 10}),
        ({}, {"cmd-delete": 3}),
        ({}, {"id": "b"}),
        ({"current-jobs-ready": 4}, {"current-jobs-ready": 4}),  # another tube has one
        ({}, {"current-jobs-buried": 2}),
    ],
)
def test_whatever_speaks_against_it_is_no_proof(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert proven({**SERVER, **before}, TUBE, {**SERVER, **after}) is None


def test_a_job_that_changed_its_state_meanwhile_does_not() -> None:
    moved = {**SERVER, "current-jobs-ready": 2, "current-jobs-reserved": 2}
    assert proven(moved, TUBE, SERVER) == 9


async def run(client: Client, tube: str = "a", **options: Any) -> Summary:
    summary = Summary()
    given = {"limit": None, "progress": None, **options}
    await SoleTubeDeletion(client, tube, summary, **given).run()
    return summary


async def test_all_jobs_of_the_tube_are_deleted_but_reserved_ones(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS_INTERVAL", 0)
    async with client_of(server) as client, client_of(server) as worker:
        await client.put_many([b"x"] * 600, tube="a")
        await client.put_many([b"late"] * 100, delay=1000, tube="a")
        held = await worker.reserve_job(7)
        await (await worker.reserve_job(8)).bury()
        told: list[Progress] = []
        summary = await run(client, progress=told.append)
        assert summary.done == 699
        assert summary.states == {"ready": 598, "delayed": 100, "buried": 1}
        assert summary.tubes == {"a": 699}
        assert (told[-1].done, told[-1].total, told[-1].jobs) == (700, 700, 699)
        await held.delete()


async def test_where_another_tube_has_a_job_it_does_nothing(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 30, tube="a")
        other = await client.put(b"x", tube="b")
        assert (await run(client)).done == 0
        await client.delete(other)
        assert (await run(client, limit=7)).done == 7
        assert (await run(client)).done == 23
        assert (await run(client)).done == 0
        assert (await run(client, "nowhere")).done == 0


async def test_what_this_client_has_reserved_stays(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 30)
        job = await client.reserve(0)
        assert (await run(client, "default")).done == 0
        summary = await clear(client, select("default"))
        assert (summary.done, summary.skipped) == (29, {"reserved by a worker": 1})
        await job.delete()


async def test_many_unused_ids_are_not_tried(server: AnyServer) -> None:
    async with client_of(server) as client:
        for job_id in (await client.put_many([b"x"] * 100))[:60]:
            await client.delete(job_id)
        assert (await run(client, "default")).done == 0


async def test_a_job_whose_body_is_under_way_stays(server: AnyServer) -> None:
    """It has its id already, and comes into another tube while the first one is cleared."""
    async with client_of(server) as client:
        with server.connect() as slow:
            slow.sendall(b"use b\r\nput 0 0 100 4\r\nsl")

            async def under_way() -> bool:
                return (await client.stats())["cmd-put"] == 1

            await until_awaited(under_way)
            await client.put_many([b"x"] * 5000, tube="a")
            clearing = asyncio.ensure_future(clear(client, select("a")))
            slow.sendall(b"ow\r\n")
            assert (await clearing).done == 5000
            assert (await client.peek_ready(tube="b")).id == 1


async def test_jobs_of_others_stay_whatever_they_do_meanwhile(server: AnyServer) -> None:
    rng = random.Random(5)
    async with client_of(server) as client, client_of(server) as other:
        kept: set[int] = set()

        async def work() -> None:
            """Put and delete jobs of other tubes, now and then all of them."""
            while not done.is_set():
                for tube in rng.choices("bcd", k=rng.randrange(4)):
                    kept.add(await other.put(b"x", delay=rng.choice([0, 9]), tube=tube))
                if rng.random() < 0.3:
                    while kept:
                        await other.delete(kept.pop())
                await asyncio.sleep(0)

        done = asyncio.Event()
        working = asyncio.ensure_future(work())
        cleared = 0
        for _ in range(30):
            await client.put_many([b"x"] * 300, tube="a")
            cleared += (await clear(client, select("a"))).done
        done.set()
        await working
        assert cleared == 30 * 300
        for job_id in kept:
            try:
                await client.peek(job_id)
            except NotFound:
                pytest.fail(f"job {job_id} of another tube was deleted")


async def test_cancelled_it_ends_between_two_jobs(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 3000)
        summary = Summary()
        clearing = asyncio.ensure_future(clear(client, select("default"), summary=summary))
        await until(lambda: summary.done)
        clearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await clearing
        assert summary.interrupted
        assert (await client.stats())["current-jobs-ready"] == 3000 - summary.done
        assert summary.done < 3000
