"""New jobs are seen as they come, and are left where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from beanstalkt import ConnectionLost, InvalidArgument
from beanstalkt.admin import JobRecord, Tail, select, tail
from beanstalkt.admin.tailing import TAIL_MARGIN, NewIds

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.waiting import soon, until


class Follower:
    """A task that follows a tail, and what it has seen."""

    def __init__(self, followed: AsyncIterator[JobRecord]) -> None:
        self.records: list[JobRecord] = []
        self._followed = followed
        self.task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        async for record in self._followed:
            self.records.append(record)

    async def has(self, *bodies: bytes) -> None:
        await until(lambda: [each.body for each in self.records] == [*bodies], str(self.records))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def begun(followed: Tail) -> Follower:
    follower = Follower(followed)
    await until(lambda: followed._new_ids is not None)
    return follower


async def test_new_jobs_of_a_tube_are_seen_in_any_state(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"old", tube="a")
        followed = tail(client, select("a"), interval=0.01)
        follower = await begun(followed)
        await other.put(b"1", tube="a")
        await other.put(b"elsewhere", tube="b")
        await follower.has(b"1")
        await other.put(b"2", delay=1000, tube="a")
        await other.put_many([b"3", b"4"], tube="a")
        await follower.has(b"1", b"2", b"3", b"4")
        assert [each.state for each in follower.records] == ["ready", "delayed", "ready", "ready"]
        assert (await client.stats_tube("a"))["current-jobs-ready"] == 4
        assert (await client.stats_job(2))["reserves"] == 0
        assert (followed.seen, followed.missed) == (4, 0)
        await follower.stop()


async def test_what_was_gone_before_it_was_seen_is_counted(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await other.put(b"old", tube="a")
        followed = tail(client, select("a"), interval=0.2)
        follower = await begun(followed)
        with other.together():
            gone = other.put(b"gone", tube="a")
            deleted = other.delete(2)
        await gone
        await deleted
        await other.put(b"stays", tube="a")
        await follower.has(b"stays")
        await until(lambda: followed.missed == 1)  # once the look that has seen it ends
        await follower.stop()


async def test_a_job_that_comes_slowly_is_seen_when_it_is_there(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        follower = await begun(tail(client, select(), interval=0.01))
        with server.connect() as slow:
            slow.sendall(b"put 0 0 100 4\r\nsl")
            await other.put(b"quick")
            await follower.has(b"quick")
            slow.sendall(b"ow\r\n")
            await follower.has(b"quick", b"slow")
        await follower.stop()


async def test_filters_hold_for_new_jobs_too(server: AnyServer) -> None:
    async with client_of(server) as client:
        follower = await begun(tail(client, select(max_priority=5, text="x"), interval=0.01))
        for priority, body in ((9, b"x"), (5, b"y"), (5, b"x1"), (0, b"x2")):
            await client.put(body, priority)
        await follower.has(b"x1", b"x2")
        await follower.stop()


async def test_a_server_that_has_restored_its_jobs(tmp_path: Path) -> None:
    server = Beanstalkd("-b", str(tmp_path))
    server.start()
    try:
        async with client_of(server) as client:
            ids = await client.put_many([b"old"] * 100)
            await client.delete(ids[-1])
        server.restart()
        async with client_of(server) as client:
            follower = await begun(tail(client, select(), interval=0.01))
            await client.put(b"1")
            await follower.has(b"1")
            await client.put_many([b"2", b"3"])
            await follower.has(b"1", b"2", b"3")
            await follower.stop()
    finally:
        server.stop()


async def test_a_lost_connection_ends_it(server: AnyServer) -> None:
    async with client_of(server) as client:
        follower = await begun(tail(client, select(), interval=0.01))
        server.stop()
        with pytest.raises(ConnectionLost):
            await soon(follower.task)


async def test_an_interval_is_more_than_nothing(server: AnyServer) -> None:
    async with client_of(server) as client:
        for interval in (0, -1, float("nan")):
            with pytest.raises(InvalidArgument):
                tail(client, select(), interval=interval)


def looks(new: NewIds, *puts: int) -> list[tuple[int, int] | None]:
    return [new.after(each, missing=False) for each in puts]


def test_where_the_server_tells_its_extent_each_id_is_looked_at_once() -> None:
    assert looks(NewIds(10, 10), 10, 13, 13, 14) == [None, (11, 13), None, (14, 14)]


def test_where_it_does_not_the_highest_that_was_found_is_the_guide() -> None:
    new = NewIds(None, 0)
    new.found(5000, 0)
    assert looks(new, 0) == [None]
    assert new.after(2, missing=True) == (5001, 5002 + TAIL_MARGIN)
    assert new.after(2, missing=True) == (5001, 5002 + 2 * TAIL_MARGIN)
    new.found(6500, 2)
    assert new.after(2, missing=False) is None
    assert new.after(3, missing=False) == (6501, 6501 + TAIL_MARGIN)


Expected = Callable[[int], tuple[int, int]]


def test_the_range_is_bounded_where_nothing_is_found() -> None:
    new = NewIds(None, 0)
    for puts in range(1, 100):
        found = new.after(puts * 100_000, missing=True)
        assert found is not None
        assert found[1] - found[0] <= 1_000_000
