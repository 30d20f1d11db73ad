"""A job is deleted only if it was reserved in the state that was seen, else it is put back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from beanstalkt import Client
from beanstalkt.admin import JobRecord, delete, select
from beanstalkt.admin.claim import CHANGED, Claim
from beanstalkt.client.bulk import Bulk
from beanstalkt.protocol.commands import RESERVE_JOB

from ..support.clients import client_of
from ..support.embedded import AnyServer

READY = JobRecord(
    5, "t", "ready", priority=10, age=60, delay=0, ttr=120, time_left=0,
    reserves=3, timeouts=1, releases=1, buries=1, kicks=1,
)  # fmt: skip
BURIED = replace(READY, state="buried")
DELAYED = replace(READY, state="delayed", delay=100, time_left=50)
HELD = replace(READY, state="reserved")


def claim(before: JobRecord, elapsed: float = 0.1, **more: int) -> Claim:
    """The claim of a job whose counters rose by `more` meanwhile, besides its reservation."""
    counters = {name: getattr(before, name) + number for name, number in more.items()}
    counters["reserves"] = counters.get("reserves", before.reserves) + 1
    return Claim(before, replace(before, state="reserved", time_left=120, **counters), elapsed)


@pytest.mark.parametrize("before", [READY, BURIED, DELAYED])
def test_a_job_of_which_only_the_reservation_was_counted_is_unchanged(before: JobRecord) -> None:
    assert claim(before).unchanged
    assert claim(before).previous[0] == before.state


@pytest.mark.parametrize("counter", ["reserves", "timeouts", "releases", "buries", "kicks"])
@pytest.mark.parametrize("before", [READY, BURIED, DELAYED])
def test_whatever_else_was_counted_is_a_change(before: JobRecord, counter: str) -> None:
    assert not claim(before, **{counter: 1}).unchanged


def test_another_priority_or_a_reserved_job_is_a_change() -> None:
    before = claim(READY)
    assert not Claim(READY, replace(before.after, priority=11), 0.1).unchanged
    assert not claim(HELD).unchanged


def test_a_delayed_job_whose_time_may_have_come_is_a_change() -> None:
    assert not claim(DELAYED, elapsed=50).unchanged
    assert claim(DELAYED, elapsed=50).previous == ("ready", 0)


@pytest.mark.parametrize(
    ("before", "counted", "state"),
    [
        (BURIED, {"kicks": 1}, "ready"),
        (BURIED, {"kicks": 1, "reserves": 1, "buries": 1}, "buried"),
        (BURIED, {"reserves": 1, "releases": 1}, "ready"),
        (READY, {"reserves": 1, "buries": 1}, "buried"),
        (READY, {"reserves": 1, "buries": 1, "kicks": 1}, "ready"),
        (HELD, {"buries": 1}, "buried"),
        (HELD, {"timeouts": 1}, "ready"),
        (DELAYED, {"kicks": 1}, "ready"),
    ],
)
def test_the_state_before_is_told_by_the_counters(
    before: JobRecord, counted: dict[str, int], state: str
) -> None:
    assert claim(before, **counted).previous[0] == state


def test_a_release_with_a_delay_is_told_by_the_delay() -> None:
    released = claim(HELD, releases=1)
    after = replace(released.after, delay=30)
    assert Claim(HELD, after, 0.1).previous == ("delayed", 30)


def act_before_reserving(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]
) -> None:
    """Have another connection do something between the look at a job and its reservation."""
    send = Bulk.send
    acting: list[asyncio.Task[object]] = []

    def send_later(bulk: Bulk, command: Any, payloads: Any) -> Any:
        if not acting and command.verb != RESERVE_JOB.verb:
            return send(bulk, command, payloads)

        async def later() -> Any:
            await acting[0]
            return await send(bulk, command, payloads)

        if not acting:
            acting.append(asyncio.ensure_future(_awaited(act)))
        return asyncio.ensure_future(later())

    monkeypatch.setattr(Bulk, "send", send_later)


async def _awaited(act: Callable[[], Awaitable[object]]) -> object:
    return await act()


async def bury(client: Client, job_id: int) -> None:
    await (await client.reserve_job(job_id)).bury(None)


async def put_off(client: Client, job_id: int) -> None:
    await (await client.reserve_job(job_id)).release(None, delay=500)


@pytest.mark.parametrize(
    ("named", "act", "expected"),
    [
        ("buried", Client.kick_job, "ready"),
        ("ready", bury, "buried"),
        ("ready", put_off, "delayed"),
        ("buried", put_off, "delayed"),
    ],
)
async def test_a_job_that_was_changed_in_between_is_put_back(
    server: AnyServer,
    monkeypatch: pytest.MonkeyPatch,
    named: Any,
    act: Callable[[Client, int], Awaitable[object]],
    expected: str,
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        job_id = await client.put(b"x", 77)
        if named == "buried":
            await bury(client, job_id)

        act_before_reserving(monkeypatch, lambda: act(other, job_id))
        summary = await delete(client, select(states=named))
        assert (summary.done, summary.skipped) == (0, {CHANGED: 1})
        stats = await client.stats_job(job_id)
        assert (stats["state"], stats["pri"]) == (expected, 77)
