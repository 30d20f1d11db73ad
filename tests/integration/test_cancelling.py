"""Cancelling: at any moment, any verb; no reply goes astray and no job is lost."""

from __future__ import annotations

import asyncio
import random
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Client, Job

from ..support.beanstalkd import Beanstalkd
from ..support.clients import (
    client_of,
    every_verb,
    nothing_reserved,
    priority_is_kept,
    until_waiting,
)
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.peer import Line, Peer
from ..support.ports import free_port
from ..support.waiting import soon, until_awaited


async def calling(start: Callable[[], Awaitable[Any]]) -> Any:
    return await start()


async def taking(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


# --- many at random -------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=120)
async def test_ten_thousand_of_fifty_thousand(server: AnyServer) -> None:
    chance = random.Random(2)
    client, other = client_of(server), client_of(server)
    async with client, other:
        count = 5000
        assert await client.put_many([b"%d" % n for n in range(1, count + 1)]) == [
            *range(1, count + 1)
        ]
        # Reserves take these first, so that the others can be looked at.
        await client.put_many([b"to reserve"] * 4000, 0)

        async def peek(job_id: int) -> None:
            assert await client.peek(job_id) == {"id": job_id, "body": b"%d" % job_id}

        async def stats_job(job_id: int) -> None:
            assert (await client.stats_job(job_id))["id"] == job_id

        async def use(number: int) -> None:
            assert await client.use(f"tube-{number}") == f"tube-{number}"

        async def put(number: int) -> None:
            job_id = await client.put(b"put %d" % number, delay=1000, tube=f"t{number % 7}")
            put_ids[job_id] = number

        async def reserve(_: int) -> None:
            with suppress(beanstalkt.TimedOut):
                job = await client.reserve(0)
                assert job.body == b"to reserve"
                assert job.id not in held
                held.add(job.id)

        put_ids: dict[int, int] = {}
        held: set[int] = set()
        kinds = [peek] * 10 + [stats_job] * 5 + [use] * 2 + [put] * 2 + [reserve]
        tasks = [
            asyncio.ensure_future(chance.choice(kinds)(chance.randint(1, count)))
            for _ in range(50_000)
        ]
        chosen = chance.sample(tasks, 10_000)
        for start in range(0, 10_000, 500):
            # The first ones before they are written, the last ones amid the replies.
            await asyncio.sleep(0 if start < 2000 else 0.01)
            for task in chosen[start : start + 500]:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = sum(isinstance(each, CancelledError) for each in results)
        assert cancelled > 3000
        wrong = [each for each in results if each and not isinstance(each, CancelledError)]
        assert wrong == []
        for job_id, number in list(put_ids.items())[:200]:
            assert (await client.peek(job_id)).body == b"put %d" % number

        async def all_returned() -> bool:
            return (await other.stats())["current-jobs-reserved"] == len(held)

        await until_awaited(all_returned)
        for job_id in (chance.choice(list(held)), max(held)):
            await client.delete(job_id)
        given_back = await other.peek_ready()
        assert (await other.stats_job(given_back))["pri"] in (0, 2**31)
        assert (await client.list_tube_used()) == client.using


async def test_waiting_reserves_at_random(server: AnyServer) -> None:
    """Each job goes to exactly one reserve that wants it."""
    chance = random.Random(5)
    async with client_of(server) as other:
        for _ in range(50):
            client = client_of(server)
            await client.connect()
            got: list[int] = []

            async def reserve(client: Client, got: list[int]) -> None:
                got.append((await client.reserve()).id)

            count = chance.randint(1, 8)
            tasks = [asyncio.ensure_future(reserve(client, got)) for _ in range(count)]
            await asyncio.sleep(0)
            puts = [
                other.put(b"x", chance.randrange(100)) for _ in range(chance.randint(1, count))
            ]
            for task in chance.sample(tasks, count - len(puts)):
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
                task.cancel()
            ids = await asyncio.gather(*puts)
            # Those that were cancelled too late have taken the jobs of others.
            while not all(task.done() for task in tasks):
                ids.append(await other.put(b"x"))
                await asyncio.sleep(0.002)
            assert len(set(got)) == len(got)
            assert set(got) <= set(ids)
            await client.close()
            await nothing_reserved(other)
            assert (await other.stats())["current-jobs-ready"] == len(ids)
            for job_id in ids:
                await other.delete(job_id)


# --- a reserve in each state ----------------------------------------------------------------


async def test_a_reserve_cancelled_before_it_was_written(server: AnyServer) -> None:
    async with client_of(server) as client:
        job_id = await client.put(b"x", 123)
        busy, reserve = client.list_tubes(), client.reserve()
        reserve.cancel()
        await busy
        await soon(client.list_tubes())
        await priority_is_kept(server, job_id, 123)


async def test_a_reserve_cancelled_while_it_is_held(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        first, use, held = client.reserve(), client.use("a"), client.reserve()
        await asyncio.sleep(0)
        held.cancel()
        await other.put(b"1")
        assert (await soon(first)).body == b"1"
        await soon(use)
        job_id = await other.put(b"2", 7)
        await soon(client.list_tubes())  # nothing waits in front of it
        await client.delete(1)
        await priority_is_kept(server, job_id, 7)


@pytest.mark.parametrize("timeout", [None, 100])
async def test_a_reserve_cancelled_while_it_waits(server: AnyServer, timeout: int | None) -> None:
    async with client_of(server) as client, client_of(server) as other:
        task = asyncio.ensure_future(taking(client.reserve(timeout)))
        await until_waiting(other, 1)
        task.cancel()
        job_id = await other.put(b"x", 55)
        await priority_is_kept(server, job_id, 55)
        with pytest.raises(CancelledError):
            await task
        assert await soon(client.put(b"y")) == 2


def cancelled_in_the_turn_of_its_reply(client: Client) -> asyncio.Task[Job]:
    """A task that is cancelled between the result of its Future and its waking up."""
    future = client.reserve()

    async def wait() -> Job:
        return await future

    def cancel(_: object) -> None:
        assert not future.cancelled()
        assert not task.done()
        assert task.cancel()

    # Before the task awaits it: the callbacks are called in the order of their coming.
    future.add_done_callback(cancel)
    task = asyncio.ensure_future(wait())
    return task


async def test_a_reserve_cancelled_in_the_turn_of_its_reply(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        for priority in (3, 4):
            task = cancelled_in_the_turn_of_its_reply(client)
            await until_waiting(other, 1)
            job_id = await other.put(b"x", priority)
            with pytest.raises(CancelledError):
                await soon(task)
            await nothing_reserved(other)
            stats = await other.stats_job(job_id)
            assert (stats["state"], stats["pri"], stats["releases"]) == ("ready", priority, 1)
            await other.delete(job_id)


async def test_a_job_of_the_same_turn_goes_to_the_next_reserve(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        task = cancelled_in_the_turn_of_its_reply(client)
        following = client.reserve()
        await until_waiting(other, 1)
        job_id = await other.put(b"x")
        job = await soon(following)
        assert job.id == job_id
        assert (await other.stats_job(job_id))["releases"] == 0
        with pytest.raises(CancelledError):
            await task


async def test_a_reserve_job_cancelled_in_each_state(server: AnyServer) -> None:
    async with client_of(server) as client:
        job_id = await client.put(b"x", 9)
        asked = client.reserve_job(job_id)
        asked.cancel()
        await priority_is_kept(server, job_id, 9)
        # Its job is no good to a reserve of another tube.
        await client.watch("a")
        await client.ignore("default")
        asked, reserve = client.reserve_job(job_id), client.reserve(1)
        asked.cancel()
        with pytest.raises(beanstalkt.TimedOut):
            await reserve
        await priority_is_kept(server, job_id, 9)
        asked, reserve = client.reserve_job(job_id), client.reserve()
        asked.cancel()
        await priority_is_kept(server, job_id, 9)
        async with client_of(server) as other:
            wanted = await other.put(b"y", tube="a")
            assert (await soon(reserve)).id == wanted


# --- what becomes of the job ----------------------------------------------------------------


async def test_a_job_goes_to_the_next_reserve_that_waits(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        first, second, third = client.reserve(), client.reserve(100), client.reserve()
        await until_waiting(other, 1)
        first.cancel()
        jobs = [await other.put(b"1"), await other.put(b"2")]
        assert [(await soon(second)).id, (await soon(third)).id] == jobs
        stats = await other.stats_job(jobs[0])
        assert (stats["state"], stats["releases"], stats["reserves"]) == ("reserved", 0, 1)


async def test_the_caller_may_settle_a_job_that_was_handed_over(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        first, second = client.reserve(), client.reserve()
        await until_waiting(other, 1)
        first.cancel()
        await other.put(b"1", ttr=3)
        job = await soon(second)
        await soon(job.delete())  # DEADLINE_SOON lets it through at the latest
        with pytest.raises(beanstalkt.NotFound):
            await other.peek(job.id)


async def test_a_loop_of_short_waits_gets_its_job_and_settles_it(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        for number in range(3):
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.reserve(), 0.02)
            reserve = client.reserve()
            await until_waiting(other, 1)
            await other.put(b"%d" % number)
            job = await soon(reserve)
            assert job.body == b"%d" % number
            await soon(job.delete())
        # None of those given up still waits for a job that nobody wants.
        await other.put(b"last")
        assert (await other.stats())["current-jobs-reserved"] == 0


async def test_two_loops_of_short_waits(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        got: list[int] = []

        async def consume() -> None:
            while len(got) < 20:
                with suppress(asyncio.TimeoutError):
                    job = await asyncio.wait_for(client.reserve(), 0.02)
                    got.append(job.id)

        consumers = [asyncio.ensure_future(consume()) for _ in range(2)]
        ids = []
        for _ in range(21):
            await asyncio.sleep(0.01)
            ids.append(await other.put(b"x"))
        await soon(asyncio.gather(*consumers))
        assert len(set(got)) == len(got)
        assert set(got) <= set(ids)


async def test_a_job_back_in_its_tube_is_there_for_the_next_reserve(
    server: AnyServer,
) -> None:
    """Also when the client changes what it watches in between."""
    async with client_of(server) as client, client_of(server) as other:
        first = client.reserve()
        await until_waiting(other, 1)
        blocker = await other.put(b"held by us", 0)
        assert (await soon(first)).id == blocker
        for step in (client.watch, client.ignore):
            dropped = client.reserve()
            await until_waiting(other, 1)
            dropped.cancel()
            change = step("a")  # held; it cannot move, because it holds a job
            following = client.reserve()
            job_id = await other.put(b"x", 77)
            await soon(change)
            job = await soon(following)
            assert job.id == job_id
            assert (await job.stats())["pri"] == 77
            await job.delete()


# --- what must not be blocked ---------------------------------------------------------------


async def test_a_cancelled_reserve_that_blocks_others_is_left_at_once(
    server: AnyServer,
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.use("mine")
        await client.watch("a")
        await client.watch("b")
        await client.ignore("default")
        restored: list[int] = []
        client.set_reconnect_callback(lambda: restored.append(1))
        for cancel_first in (True, False):
            reserve = client.reserve()
            await until_waiting(other, 1)
            if cancel_first:
                reserve.cancel()
            put, use = client.put(b"x"), client.use("theirs")
            behind = client.reserve(60)
            reserve.cancel()
            assert (await other.stats_job(await soon(put)))["tube"] in ("mine", "theirs")
            assert await soon(use) == "theirs" == client.using
            assert await other.put(b"job", tube="b")
            job = await soon(behind)
            assert job.body == b"job"
            await soon(job.delete())
            assert sorted(await soon(client.list_tubes_watched())) == ["a", "b"]
            assert await soon(client.list_tube_used()) == "theirs"
        assert (await other.stats())["current-connections"] == 2
        assert restored == []  # nothing was lost


async def test_held_units_move_as_units(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        reserve = client.reserve()
        await until_waiting(other, 1)
        puts = [client.put(b"%d" % n, tube=f"t{n % 3}") for n in range(30)]
        puts.append(client.put(b"own"))
        many = client.put_many([b"x"] * 2000, tube="many")
        reserve.cancel()
        tubes = [(await other.stats_job(await soon(put)))["tube"] for put in puts]
        assert tubes == [*[f"t{n % 3}" for n in range(30)], "default"]
        assert len(await soon(many)) == 2000
        assert (await other.stats_tube("many"))["total-jobs"] == 2000


async def test_it_stays_while_it_holds_a_job(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"x", ttr=3)
        job = await client.reserve()
        reserve = client.reserve()
        await until_waiting(other, 1)
        reserve.cancel()
        touch = job.touch()
        assert (await other.stats_job(job.id))["state"] == "reserved"
        # DEADLINE_SOON ends the reserve, and the job is still ours.
        await asyncio.wait_for(touch, 10)
        await soon(job.delete())


async def test_a_reserve_that_others_still_wait_behind_is_not_left(
    server: AnyServer,
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        first, second = client.reserve(), client.reserve()
        put = client.put(b"held")
        await until_waiting(other, 1)
        total = (await other.stats())["total-connections"]
        first.cancel()
        await other.put(b"1")
        await soon(second)
        assert (await other.stats())["total-connections"] == total
        put.cancel()


async def test_tubes_that_change_during_the_move_are_not_forgotten() -> None:
    """What was watched when the new connection was set up may be old when it is taken."""
    second_is_there = asyncio.Event()
    go_on = asyncio.Event()

    async def play(line: Line) -> None:
        if len(peer.lines) == 1:
            await line.expect(b"watch a")
            line.send(b"WATCHING 2\r\n")
            await line.expect(b"reserve")
            await second_is_there.wait()
            line.send(b"RESERVED 1 1\r\nx\r\n")
            await line.expect(b"stats-job 1")
            line.send(b"OK 10\r\n---\npri: 5\r\n")
            await line.expect(b"release 1 5 0", b"watch b")
            line.send(b"RELEASED\r\nWATCHING 3\r\n")
            await line.expect(b"reserve")
            go_on.set()
            await line.end()
        else:
            await line.expect(b"watch a")
            second_is_there.set()
            if len(peer.lines) == 2:
                await go_on.wait()
                await asyncio.sleep(0.05)
            line.send(b"WATCHING 2\r\n")
            await line.expect(b"watch b")
            line.send(b"WATCHING 3\r\n")
            await line.expect(b"list-tubes")
            line.send(b"OK 6\r\n---\n- \r\n")
            await line.end()

    async with Peer(play) as peer, client_of(peer) as client:
        await client.watch("a")
        first = client.reserve()
        await asyncio.sleep(0)
        first.cancel()
        assert await soon(client.watch("b")) == 3
        second = client.reserve()
        listing = client.list_tubes()
        await soon(go_on.wait())
        second.cancel()
        await soon(listing)
        assert client.watching == {"default", "a", "b"}


# --- every verb -----------------------------------------------------------------------------


async def test_a_timeout_around_every_verb(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put(b"first")
        job = await client.reserve()
        await job.release()
        for start in every_verb(client):
            for timeout in (0, 0.000_1, 0.001):
                for call in (calling(start), start()):
                    with suppress(asyncio.TimeoutError, beanstalkt.BeanstalkException):
                        result = await asyncio.wait_for(call, timeout)
                        if isinstance(result, Job) and result.origin:
                            await soon(result.release())
            # The next reply is the one to this.
            assert (await soon(client.stats_tube("default")))["name"] == "default"
            for job_id in range(1, (await other.stats())["total-jobs"] + 1):
                with suppress(beanstalkt.NotFound):
                    await soon(client.delete(job_id))
            await other.put_many([b"again"] * 20)
        assert await soon(client.list_tube_used()) == client.using
        assert set(await soon(client.list_tubes_watched())) == client.watching


async def test_a_cancelled_command_is_carried_out_all_the_same(server: AnyServer) -> None:
    async with client_of(server) as client:
        first, put, use = client.list_tubes(), client.put(b"x", 6), client.use("a")
        put.cancel()
        use.cancel()
        await first
        assert await client.list_tube_used() == "a" == client.using
        job = await client.reserve(0)
        release = asyncio.ensure_future(taking(job.release(None)))
        await asyncio.sleep(0)
        release.cancel()
        stats = await client.stats_job(job)
        assert (stats["state"], stats["pri"]) == ("ready", 6)


async def test_cancelling_put_many(server: AnyServer) -> None:
    async with client_of(server) as client:
        taken = 0

        def bodies() -> Any:
            nonlocal taken
            while True:
                taken += 1
                yield b"x"

        task = asyncio.ensure_future(taking(client.put_many(bodies())))
        while taken < 5000:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(CancelledError):
            await task
        when = taken
        # What had been taken is put; nothing more is.
        assert (await soon(client.stats()))["total-jobs"] == when
        assert await client.put(b"y") == when + 1
        assert taken == when


async def test_cancelling_connect(server: AnyServer) -> None:
    nowhere = Client("127.0.0.1", free_port())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(nowhere.connect(), 0.05)
    await nowhere.close()

    client = client_of(server)
    for delay in (0, 0, 0.0001, 0.001):
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(client.connect(), delay)
    one, two = client.connect(), client.connect()
    one.cancel()
    await soon(two)
    assert await client.put(b"x") == 1
    await client.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_cancelling_close(server: AnyServer, turns: int) -> None:
    """The connection ends all the same, and nobody waits for ever."""
    async with client_of(server) as other:
        client = client_of(server)
        await client.connect()
        await client.put(b"x")
        await client.reserve()
        server.freeze()
        try:
            pending = client.stats()
            task = asyncio.ensure_future(taking(client.close()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(CancelledError):
                await task
            with suppress(CancelledError):
                closing = client.close()
                closing.cancel()
                await closing
        finally:
            server.thaw()
        with suppress(beanstalkt.ConnectionLost):
            await soon(pending)
        await soon(client.close())
        assert client.closed()

        async def gone() -> bool:
            return (await other.stats())["current-connections"] == 1

        await soon(until_awaited(gone))
        assert (await other.stats())["current-jobs-ready"] == 1


async def test_entering_is_cancelled_at_any_moment(apart: Beanstalkd) -> None:
    async with nothing_left():
        for turns in range(200):
            client = client_of(apart)
            entering = asyncio.ensure_future(client.__aenter__())
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            if not entering.cancel():
                await client.close()
            await asyncio.wait([entering])
            assert client.closed()


async def test_connecting_is_cancelled_at_any_moment(apart: Beanstalkd) -> None:
    async with nothing_left():
        for turns in range(200):
            client = client_of(apart)
            connecting = client.connect()
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            if not connecting.cancel():
                await client.close()
            # Not closed here: who was told that it is cancelled has nothing to close.


async def test_a_timeout_around_the_whole_client(server: AnyServer) -> None:
    async with client_of(server) as other:
        for delay in (0, 0.0005, 0.002, 0.05):

            async def session() -> None:
                async with client_of(server) as client:
                    async for job in client.jobs():
                        await job.delete()

            await other.put(b"x")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session(), delay)

            async def gone() -> bool:
                stats = await other.stats()
                return stats["current-connections"] == 1 and stats["current-jobs-reserved"] == 0

            await soon(until_awaited(gone))
