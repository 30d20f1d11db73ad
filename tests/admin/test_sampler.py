"""The sampler: one task for any number of subscribers, whatever the server does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from beanstalkt import Client
from beanstalkt.admin import Badge, Sampler, Snapshot, Subscription, TubeFilter
from beanstalkt.admin.reading import BATCH
from beanstalkt.errors import InvalidArgument
from tests.support.beanstalkd import Beanstalkd
from tests.support.clients import client_of
from tests.support.embedded import AnyServer
from tests.support.leftovers import nothing_left
from tests.support.peer import Line, Peer
from tests.support.ports import HOST, free_port
from tests.support.waiting import TIMEOUT, soon, until

QUICK = 0.02
"""Seconds between two snapshots, so that a test waits for none."""


async def until_one(
    snapshots: Subscription, condition: Callable[[Snapshot], object], what: str = ""
) -> Snapshot:
    """The first snapshot for which `condition` holds."""

    async def find() -> Snapshot:
        async for snapshot in snapshots:
            if condition(snapshot):
                return snapshot
        raise AssertionError("the subscription ended")

    return await asyncio.wait_for(find(), TIMEOUT)


async def read_all(snapshots: Subscription) -> int:
    return len([each async for each in snapshots])


def sampler_of(server: Any, **options: Any) -> Sampler:
    options = {"interval": QUICK, "timeout": TIMEOUT, "rate_window": 0.1, **options}
    return Sampler(f"beanstalk://{server.host}:{server.port}", **options)


async def test_what_a_server_has_is_in_a_snapshot(server: AnyServer) -> None:
    async with nothing_left(), client_of(server) as client, client_of(server) as worker:
        await worker.watch("held")
        await client.put("x", tube="held")
        held = await worker.reserve()
        await client.put_many([b"x"] * 3, 10, tube="mail")
        await client.put("x", delay=60, tube="mail")
        await client.pause_tube("mail", 100)
        await held.bury()
        snapshot = await soon(sampler_of(server).sample())
    assert snapshot.up
    assert snapshot.error is None
    assert (snapshot.tube_count, snapshot.left_out) == (3, 0)
    assert snapshot.stats["current-jobs-ready"] == 3
    mail, held_tube = snapshot.tubes["mail"], snapshot.tubes["held"]
    assert (mail.ready, mail.urgent, mail.delayed, mail.total) == (3, 3, 1, 4)
    assert (mail.watching, mail.waiting, mail.drain_seconds) == (0, 0, None)
    assert 0 < mail.paused_for <= 100
    assert set(mail.badges) == {Badge.NO_WORKERS, Badge.PAUSED}
    assert (held_tube.buried, held_tube.reserved, held_tube.watching) == (1, 0, 1)
    assert held_tube.badges == ()


async def test_rates_are_measured(server: AnyServer) -> None:
    async with client_of(server) as client, sampler_of(server).subscribe() as snapshots:
        first = await snapshots.__anext__()
        assert first.rates is None
        ids = await client.put_many([b"x"] * 10, tube="t")
        snapshot = await until_one(snapshots, lambda each: "t" in each.tubes)
        rates = snapshot.tubes["t"].rates
        assert rates is not None
        assert rates.into * (snapshot.clock - first.clock) == pytest.approx(10, rel=0.5)
        await client.delete(ids[0])
        await until_one(snapshots, lambda each: each.rates and each.rates.out > 0)


async def test_the_next_job_of_the_fullest_tubes_is_looked_at(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 3, tube="b")
        urgent = await client.put("x", 0, tube="b")
        await client.put_many([b"x"] * 2, tube="a")
        await client.put("x", tube="c")
        await client.put("x", delay=9, tube="d")
        snapshot = await sampler_of(server, heads=2).sample()
        heads = {name: tube.head for name, tube in snapshot.tubes.items()}
        assert heads["b"] is not None
        assert (heads["b"].id, heads["b"].timeouts) == (urgent, 0)
        assert 0 <= heads["b"].age < TIMEOUT
        assert [name for name in "abcd" if heads[name]] == ["a", "b"]
        assert (await client.stats())["current-jobs-reserved"] == 0


async def test_it_does_not_count_itself_as_a_worker(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.watch("other")
        await client.ignore("default")
        await client.put("x")
        default = (await sampler_of(server).sample()).tubes["default"]
        assert (default.watching, default.using) == (0, 1)
        assert Badge.NO_WORKERS in default.badges


async def test_a_filter_and_a_limit_choose_tubes(server: AnyServer) -> None:
    async with client_of(server) as client:
        for number in range(5):
            await client.put("x", tube=f"t{number}")
        tubes = TubeFilter(include="t*", exclude="t1", limit=2)
        sampler = sampler_of(server, tubes=tubes)
        async with sampler.subscribe() as snapshots:
            snapshot = await snapshots.__anext__()
            assert set(snapshot.tubes) == {"t0", "t2"}
            assert (snapshot.tube_count, snapshot.left_out) == (6, 2)
            await client.put("x", tube="t9")
            again = await until_one(snapshots, lambda each: each.tube_count == 7)
            assert set(again.tubes) == {"t0", "t2"}


async def test_more_tubes_than_a_batch(server: AnyServer) -> None:
    count = 3 * BATCH + 1
    async with client_of(server) as client:
        await asyncio.gather(*(client.watch(f"t{number}") for number in range(count)))
        snapshot = await sampler_of(server).sample()
        assert len(snapshot.tubes) == snapshot.tube_count == count + 1
        assert snapshot.tubes["t0"].watching == 1


async def test_subscribers_share_one_task_and_one_connection(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.stats()  # so that the server has accepted it, and what is left can be counted
        async with nothing_left(), AsyncExitStack() as stack:
            sampler = sampler_of(server)
            subscriptions = [
                await stack.enter_async_context(sampler.subscribe()) for _ in range(50)
            ]
            firsts = await soon(asyncio.gather(*(each.__anext__() for each in subscriptions)))
            assert len({id(each) for each in firsts}) == 1
            assert (await client.stats())["current-connections"] == 2


async def test_a_slow_subscriber_gets_the_newest_snapshot(server: AnyServer) -> None:
    sampler = sampler_of(server)
    async with sampler.subscribe() as slow, sampler.subscribe() as quick:
        for _ in range(5):
            newest = await soon(quick.__anext__())
        assert await soon(slow.__anext__()) is newest


async def test_a_late_subscriber_gets_the_latest_snapshot_at_once(server: AnyServer) -> None:
    sampler = sampler_of(server, interval=3600)
    async with sampler.subscribe() as early:
        snapshot = await soon(early.__anext__())
        async with sampler.subscribe() as late:
            assert await soon(late.__anext__()) is snapshot is sampler.latest


async def test_a_sample_does_not_wait_for_the_interval(server: AnyServer) -> None:
    sampler = sampler_of(server, interval=3600)
    async with sampler.subscribe() as early:
        first = await soon(early.__anext__())
        second = await soon(sampler.sample())
        assert second is not first
        assert await soon(early.__anext__()) is sampler.latest
        async with client_of(server) as client:  # and it is one snapshot, not one after another
            for _ in range(20):
                await client.stats()
        assert sampler.latest is second


async def test_samples_at_the_same_time_are_one(server: AnyServer) -> None:
    async with nothing_left():
        sampler = sampler_of(server)
        found = await soon(asyncio.gather(*(sampler.sample() for _ in range(20))))
        assert len({id(each) for each in found}) == 1
        assert (await soon(sampler.sample())).rates is not None


async def test_a_cancelled_subscriber_takes_nothing_from_the_others(server: AnyServer) -> None:
    async with nothing_left():
        sampler = sampler_of(server)
        sampled = asyncio.create_task(sampler.sample())
        other = asyncio.create_task(sampler.sample())
        await asyncio.sleep(0)
        sampled.cancel()
        assert (await soon(other)).up


async def test_one_that_is_cancelled_over_and_over_leaves_nothing(server: AnyServer) -> None:
    async with nothing_left():
        sampler = sampler_of(server)
        for turns in range(30):
            task = asyncio.create_task(sampler.sample())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        assert (await soon(sampler.sample())).up


async def test_closing_ends_all_subscriptions(server: AnyServer) -> None:
    async with nothing_left():
        sampler = sampler_of(server)
        async with sampler.subscribe() as one, sampler.subscribe() as two:
            readers = asyncio.gather(read_all(one), read_all(two))
            await until(lambda: len(sampler.history) > 2)
            await sampler.close()
            await sampler.close()
            assert min(await soon(readers)) > 0
        assert (await soon(sampler.sample())).up


async def test_a_task_that_others_cancel_ends_the_subscriptions(server: AnyServer) -> None:
    async with nothing_left():
        sampler = sampler_of(server, interval=3600)
        async with sampler.subscribe() as snapshots:
            await snapshots.__anext__()
            assert sampler._task is not None
            sampler._task.cancel()
            with pytest.raises(StopAsyncIteration):
                await soon(snapshots.__anext__())
            assert (await soon(sampler.sample())).up


async def test_it_looks_with_a_given_client(server: AnyServer) -> None:
    """The client is connected if need be, goes on using its tubes, and is not closed."""
    client = client_of(server)
    try:
        sampler = Sampler(client, heads=5)
        assert (await soon(sampler.sample())).up
        assert not client.closed()
        await client.use("mine")
        await client.put("x", tube="other")
        assert (await soon(sampler.sample())).tubes["other"].head is not None
        assert await client.list_tube_used() == "mine"
    finally:
        await client.close()


# --- servers that are gone, slow, or none ---------------------------------------------------


async def test_a_server_that_is_not_there_is_told_in_time() -> None:
    async with nothing_left():
        sampler = Sampler(f"beanstalk://{HOST}:{free_port()}", timeout=0.2)
        snapshot = await soon(sampler.sample())
        assert not snapshot.up
        assert "refused" in str(snapshot.error)
        assert sampler.latest is snapshot
        assert sampler.latest_up is None
        assert math.isnan(sampler.history.server()[0].ready)


async def test_a_server_that_freezes_is_told_in_time_and_found_again(apart: Beanstalkd) -> None:
    async with nothing_left(), sampler_of(apart, timeout=0.3).subscribe() as snapshots:
        assert (await snapshots.__anext__()).up
        apart.freeze()
        try:
            down = await until_one(snapshots, lambda each: not each.up)
            assert down.error
            await until_one(snapshots, lambda each: not each.up and each is not down)
        finally:
            apart.thaw()
        assert not (await until_one(snapshots, lambda each: each.up)).restarted


async def test_closing_does_not_wait_for_a_frozen_server(apart: Beanstalkd) -> None:
    sampler = sampler_of(apart, timeout=0.3)
    async with nothing_left():
        apart.freeze()
        try:
            assert not (await soon(sampler.sample())).up
        finally:
            apart.thaw()


async def test_a_restart_is_told_once(apart: Beanstalkd) -> None:
    async with sampler_of(apart).subscribe() as snapshots:
        first = await snapshots.__anext__()
        apart.restart()
        other = await until_one(
            snapshots, lambda each: each.up and each.stats["id"] != first.stats["id"]
        )
        assert other.restarted
        assert other.rates is None
        assert not (await until_one(snapshots, lambda each: each.up)).restarted


async def test_what_is_no_server_is_told() -> None:
    async def greet(line: Line) -> None:
        line.send(b"220 mail.example.com ESMTP\r\n")
        await line.end()

    async with nothing_left(), Peer(greet) as peer:
        snapshot = await soon(sampler_of(peer, timeout=0.5).sample())
        assert not snapshot.up
        assert snapshot.error


async def test_a_tube_that_goes_or_cannot_be_is_left_out() -> None:
    async def answer(line: Line) -> None:
        await line.expect(b"stats", b"list-tubes")
        hostile = b"- \x1b]0;owned\x07\n- a b\n- -x\n- \n"
        for data in (b"---\nid: abc\n", b"---\n- a\n" + hostile + b"- b\n"):
            line.send(b"OK %d\r\n%s\r\n" % (len(data), data))
        await line.expect(b"stats-tube a", b"stats-tube b")
        tube = b"---\nname: b\ncurrent-jobs-ready: 4\n"
        line.send(b"NOT_FOUND\r\nOK %d\r\n%s\r\n" % (len(tube), tube))
        await line.expect(b"quit")

    async with nothing_left(), Peer(answer) as peer:
        snapshot = await soon(sampler_of(peer).sample())
        assert snapshot.up
        assert {name: tube.ready for name, tube in snapshot.tubes.items()} == {"b": 4}
        assert snapshot.tube_count == 6


async def test_a_server_that_goes_in_the_middle_is_told() -> None:
    async def stop_short(line: Line) -> None:
        await line.expect(b"stats", b"list-tubes")
        data = b"---\n" + b"".join(b"- t%d\n" % number for number in range(3 * BATCH))
        line.send(b"OK 8\r\n---\nid: a\r\nOK %d\r\n%s\r\n" % (len(data), data))
        await line.command()
        line.send(b"OK 999\r\n---\nname: t0\n")
        line.reset()

    async with nothing_left(), Peer(stop_short) as peer:
        snapshot = await soon(sampler_of(peer, timeout=2).sample())
        assert not snapshot.up
        assert dict(snapshot.tubes) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"interval": 0},
        {"interval": math.inf},
        {"interval": "1"},
        {"timeout": -1},
        {"timeout": math.nan},
        {"heads": -1},
        {"heads": True},
        {"history": -1},
        {"rate_window": None},
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Sampler("beanstalk://localhost", **options)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        Sampler("localhost:11300")


async def test_a_subscription_is_entered_first() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Sampler(Client()).subscribe().__anext__()
