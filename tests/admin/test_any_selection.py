"""Whatever the selection, what is listed, counted and deleted are the same jobs, and no other."""

from __future__ import annotations

import random
from typing import Any

import pytest

from beanstalkt import Client
from beanstalkt.admin import JobRecord, Selection, delete, list_jobs, select
from beanstalkt.admin.record import SETTLED_STATES, STATES, State

from ..support.clients import client_of
from ..support.embedded import AnyServer

TUBES = ("a", "b", "c")
WORDS = ("red", "green", "blue", "\xfc", "")


async def populate(client: Client, rng: random.Random) -> None:
    """Put jobs into each state of each tube, and leave ids without a job between them."""
    for _ in range(40):
        body = " ".join(rng.sample(WORDS, 2)).encode(rng.choice(["utf-8", "latin-1"]))
        delay = rng.choice([0, 0, 500])
        job_id = await client.put(body, rng.randrange(4), delay, 100, tube=rng.choice(TUBES))
        fate = rng.choice(["stay", "stay", "bury", "hold", "delete"])
        if fate == "delete":
            await client.delete(job_id)
        elif fate != "stay":
            job = await client.reserve_job(job_id)
            if fate == "bury":
                await job.bury(None)


def any_selection(rng: random.Random, states: tuple[State, ...]) -> Selection:
    """Return a selection in which each field may be one that decides."""

    def maybe(value: object) -> object:
        return value if rng.random() < 0.35 else None

    fields: dict[str, Any] = {
        "tubes": maybe(rng.sample(TUBES, rng.randrange(1, 3))),
        "states": maybe(rng.sample(states, rng.randrange(1, 3))),
        "min_priority": maybe(rng.randrange(3)),
        "text": maybe(rng.choice(WORDS)),
        "pattern": maybe(rng.choice(["^red", "e+n", "\xfc|b", "^$"])),
        "since_id": maybe(rng.randrange(1, 30)),
        "until_id": maybe(rng.randrange(30, 60)),
    }
    return select(**{name: value for name, value in fields.items() if value is not None})


async def everything(client: Client) -> list[JobRecord]:
    return [record async for record in list_jobs(client, select())]


@pytest.mark.parametrize("seed", range(12))
async def test_they_are_the_same_jobs(server: AnyServer, seed: int) -> None:
    rng = random.Random(seed)
    async with client_of(server) as client, client_of(server) as holder:
        await populate(holder, rng)
        present = await everything(client)
        stats: Any = await client.stats()
        assert len(present) == sum(stats[f"current-jobs-{state}"] for state in STATES)
        for _ in range(4):
            selection = any_selection(rng, STATES)
            found = [record.id async for record in list_jobs(client, selection)]
            assert found == [record.id for record in present if selection.matches(record)]
        selection = any_selection(rng, tuple(SETTLED_STATES))
        expected = [
            record.id
            for record in present
            if record.state != "reserved" and selection.matches(record)
        ]
        assert (await delete(client, selection, dry_run=True)).done == len(expected)
        assert (await delete(client, selection)).done == len(expected)
        left = [record.id for record in present if record.id not in expected]
        assert [record.id for record in await everything(client)] == left
