"""When a burst is over."""

from __future__ import annotations

import asyncio

from beanstalkt.worker.burst import Burst

CHECK_INTERVAL = 1000.0
"""No test here may depend on asking again after a while."""


async def look(burst: Burst, slot: str, jobs: list[str]) -> None:
    """What a slot does, with a list for a tube."""
    while not burst.over.is_set():
        mark = burst.begin_check()
        await asyncio.sleep(0)
        if jobs:
            burst.found(slot)
            job = jobs.pop()
            await asyncio.sleep(0.001)
            others.setdefault(job, []).append("end")
        else:
            await burst.found_none(slot, mark)


others: dict[str, list[str]] = {}


async def test_nothing_at_all() -> None:
    burst = Burst(CHECK_INTERVAL)
    for slot in "abc":
        burst.join(slot)
    await asyncio.gather(*(look(burst, slot, []) for slot in "abc"))


async def test_a_job_that_puts_into_a_tube_that_was_empty() -> None:
    others.clear()
    tubes: dict[str, list[str]] = {"a": ["b"], "b": others.setdefault("b", []), "c": []}
    burst = Burst(CHECK_INTERVAL)
    for slot in tubes:
        burst.join(slot)
    await asyncio.wait_for(
        asyncio.gather(*(look(burst, slot, jobs) for slot, jobs in tubes.items())), 5
    )
    assert not any(tubes.values())
    assert others["end"] == ["end"]


async def test_a_slot_that_leaves_is_not_waited_for() -> None:
    burst = Burst(CHECK_INTERVAL)
    burst.join("a")
    burst.join("b")
    task = asyncio.get_running_loop().create_task(look(burst, "a", []))
    await asyncio.sleep(0.01)
    assert not burst.over.is_set()
    burst.found("b")
    burst.leave("b")
    await asyncio.wait_for(task, 5)
    assert burst.over.is_set()


async def test_a_slot_that_works_is_waited_for() -> None:
    burst = Burst(CHECK_INTERVAL)
    burst.join("a")
    burst.join("b")
    burst.found("b")
    task = asyncio.get_running_loop().create_task(look(burst, "a", []))
    await asyncio.sleep(0.02)
    assert not burst.over.is_set()
    await burst.found_none("b", burst.begin_check())
    await look(burst, "b", [])
    await asyncio.wait_for(task, 5)
