"""A pool of servers: its verbs, where jobs go, and where they come from."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from beanstalkt import (
    Client,
    ConnectionLost,
    InvalidArgument,
    JobTooBig,
    NotFound,
    NotIgnored,
    Pool,
    PoolJob,
    TimedOut,
)
from beanstalkt.pool import reserving
from beanstalkt.protocol.stats import Stats, StatsTube

from ..support.clients import client_of, nothing_reserved, priority_is_kept
from ..support.several import Servers, counts, pool_of, several, urls_of
from ..support.waiting import TIMEOUT, soon, until, until_awaited


@pytest.fixture
def servers(patient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Run three servers, none of which counts as slow when the machine is."""
    for module in ("reserving", "member"):
        monkeypatch.setattr(f"beanstalkt.pool.{module}.PATIENCE", TIMEOUT)
    with several(3) as found:
        yield found


async def waiting_at(servers: Servers, count: int) -> None:
    """Wait until so many connections wait for a job at each of the servers."""
    for server in servers.values():
        async with client_of(server) as client:

            async def waiting(client: Client = client) -> bool:
                return (await client.stats())["current-waiting"] == count

            await until_awaited(waiting, f"{count} that wait at {server.url}")


# --- putting ---


async def test_puts_go_to_each_server_in_turn(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        ids = [await pool.put(b"x") for _ in range(6)]
        assert counts(ids) == {"a": 2, "b": 2, "c": 2}
        assert ids[0].partition("/")[0] != ids[1].partition("/")[0]
        for job_id in ids:
            assert (await pool.peek(job_id)).id == job_id


async def test_puts_follow_the_weights(servers: Servers) -> None:
    urls = urls_of(servers)
    async with Pool(
        {"a": urls["a"] + "?weight=2", "b": urls["b"], "c": urls["c"] + "?weight=0"}
    ) as p:
        ids = await asyncio.gather(*(p.put(b"x") for _ in range(30)))
        assert counts(ids) == {"a": 20, "b": 10}


async def test_the_least_busy_server_is_chosen(servers: Servers) -> None:
    async with pool_of(servers, strategy="least-outstanding") as pool:
        servers["a"].freeze()
        ids = [pool.put(b"x") for _ in range(3)]
        await until(lambda: sum(put.done() for put in ids) == 2)
        more = [await soon(pool.put(b"x")) for _ in range(20)]
        assert "a" not in counts(more)
        servers["a"].thaw()
        assert counts(await asyncio.gather(*ids)) == {"a": 1, "b": 1, "c": 1}


async def test_jobs_with_a_key_go_to_one_server(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for key in ("anna", b"anna", "berta", "carla"):
            ids = [await pool.put(b"x", key=key) for _ in range(4)]
            assert counts(ids) == {pool.server_of(key): 4}
        assert len({pool.server_of(str(number)) for number in range(50)}) == 3


async def test_the_tube_is_the_one_in_use_or_the_one_given(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        assert await pool.use("mine") == pool.using == "mine"
        ids = [await pool.put(b"x") for _ in range(3)]
        ids += [await pool.put(b"x", tube="other") for _ in range(3)]
        tubes = [(await pool.stats_job(job_id))["tube"] for job_id in ids]
        assert tubes == ["mine"] * 3 + ["other"] * 3
        assert set(await pool.list_tubes()) == {"default", "mine", "other"}
        assert await pool.list_tube_used() == "mine"


async def test_put_many_is_split_and_its_ids_are_in_order(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        ids = await pool.put_many((b"%d" % n for n in range(5000)), tube="t")
        assert set(counts(ids)) == {"a", "b", "c"}
        for number in (0, 31, 170, 171, 2500, 4999):
            assert (await pool.peek(ids[number])).body == b"%d" % number
        assert await pool.put_many([]) == []


async def test_put_many_has_a_key_for_all_or_for_each(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        assert counts(await pool.put_many([b"x"] * 100, key="k")) == {pool.server_of("k"): 100}
        bodies = [b"%d" % (n % 20) for n in range(1000)]
        ids = await pool.put_many(bodies, key=lambda body: body)
        for body, job_id in zip(bodies, ids, strict=True):
            assert job_id.startswith(pool.server_of(body) + "/")
        assert (await pool.peek(ids[777])).body == bodies[777]


async def test_put_many_says_which_went_in(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        bodies = [b"x"] * 100 + [b"y" * 70_000] + [b"x"] * 10
        with pytest.raises(JobTooBig) as caught:
            await pool.put_many(bodies)
        ids = caught.value.ids
        assert ids is not None
        assert ids[100] is None
        assert all(ids[:100])
        assert caught.value.server in servers


class Own(BaseException):
    """Neither an Exception nor one that asyncio knows."""


@pytest.mark.parametrize("count", [0, 200])
async def test_what_the_bodies_or_keys_raise_reaches_the_caller(
    servers: Servers, count: int
) -> None:
    def bodies() -> Iterator[bytes]:
        yield from [b"x"] * count
        raise Own

    def key(body: bytes) -> str:
        raise Own

    async with pool_of(servers) as pool:
        with pytest.raises(Own) as caught:
            await pool.put_many(bodies())
        assert len(caught.value.ids) == count  # type: ignore[attr-defined]
        with pytest.raises(Own):
            await pool.put_many([b"x"], key=key)
        with pytest.raises(InvalidArgument, match="not one body"):
            pool.put_many("x", key=key)


# --- reserving and settling ---


async def test_jobs_come_from_all_servers_and_are_settled_where_they_are(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        put = await pool.put_many([b"x"] * 3, key=None)
        put += [await pool.put(b"x") for _ in range(6)]
        taken = [await soon(pool.reserve()) for _ in put]
        assert sorted(job.id for job in taken) == sorted(put)
        for job in taken:
            assert job.id == f"{job.server}/{job.number}"
            await job.touch()
        await taken[0].delete()
        await taken[1].bury()
        await taken[2].release(delay=100)
        await pool.delete(taken[3].id)
        assert (await taken[1].stats())["state"] == "buried"
        assert (await pool.stats_job(taken[2].id))["state"] == "delayed"
        for gone in (taken[0], taken[3]):
            with pytest.raises(NotFound):
                await pool.peek(gone)


async def test_a_waiting_reserve_gets_the_job_of_any_server(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for name, server in servers.items():
            waiting = pool.reserve()
            await waiting_at(servers, 1)
            async with client_of(server) as client:
                number = await client.put(b"x")
            job = await soon(waiting)
            assert job.id == f"{name}/{number}"
            # A job that was waited for is held elsewhere, which makes no difference.
            await pool.touch(job.id)
            await job.delete()
        assert pool.late == 0


async def test_waiting_holds_up_neither_puts_nor_settling(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await pool.put(b"first")
        first = await soon(pool.reserve())
        waiting = [pool.reserve() for _ in range(3)]
        await waiting_at(servers, 1)
        await soon(first.touch())
        await soon(first.delete())
        ids = {await soon(pool.put(b"x")) for _ in range(3)}
        jobs = [await soon(each) for each in waiting]
        assert {job.id for job in jobs} == ids
        for job in jobs:
            await soon(job.delete())


async def test_timeouts_are_kept(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for timeout in (0, 1):
            with pytest.raises(TimedOut) as caught:
                await soon(pool.reserve(timeout))
            assert caught.value.status == "TIMED_OUT"
        assert [job async for job in pool.jobs(0)] == []


async def test_a_reserve_that_does_not_wait_asks_each_server_once(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        with pytest.raises(TimedOut):
            await pool.reserve(0)
        for client in pool.clients.values():
            assert (await client.stats())["cmd-reserve-with-timeout"] == 1


async def test_an_idle_pool_sends_nothing(servers: Servers) -> None:
    async with pool_of(servers) as pool, client_of(servers["a"]) as client:
        waiting = pool.reserve(60)
        await waiting_at(servers, 1)

        async def asked() -> int:
            stats = await client.stats()
            return stats["cmd-reserve"] + stats["cmd-reserve-with-timeout"]

        before = await asked()
        await asyncio.sleep(0.3)
        assert await asked() == before
        waiting.cancel()
        del waiting
        await waiting_at(servers, 0)


async def test_jobs_that_arrive_at_once_have_one_caller_each(servers: Servers) -> None:
    """One caller waits, and each server has a job: the two others go back at once."""
    async with pool_of(servers) as pool:
        waiting = pool.reserve()
        await waiting_at(servers, 1)
        for server in servers.values():
            async with client_of(server) as client:
                await client.put(b"x", priority=77)
        job = await soon(waiting)
        await job.delete()
        left = {name: server for name, server in servers.items() if name != job.server}
        for server in left.values():
            await priority_is_kept(server, 1, 77)
        assert pool.late <= 2


async def test_one_server_serves_all_that_wait(servers: Servers) -> None:
    async with pool_of(servers) as pool, client_of(servers["b"]) as client:
        waiting = [pool.reserve() for _ in range(3)]
        await waiting_at(servers, 1)
        for number in range(3):
            await client.put(b"%d" % number)
            assert (await soon(waiting[number])).body == b"%d" % number


async def test_connections_that_have_brought_jobs_wait_again(servers: Servers) -> None:
    """Also when the program keeps the jobs that it has settled."""
    async with pool_of(servers) as pool, client_of(servers["b"]) as client:
        settled = []
        for _ in range(8):
            waiting = pool.reserve()
            await waiting_at(servers, 1)
            await client.put(b"x")
            job = await soon(waiting)
            await job.delete()
            settled.append(job)
        assert pool.connections <= 3 * 3


async def test_a_job_whose_caller_is_gone_is_for_the_next_one_who_waits(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        first, second = pool.reserve(), pool.reserve()
        await waiting_at(servers, 1)
        put = await pool.put(b"x")
        await until(first.done)
        del first
        gc.collect()
        assert (await soon(second)).id == put
        assert pool.late == 0


@pytest.fixture
def long_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserving, "LINGER", 60.0)


async def test_a_caller_who_has_asked_gets_what_was_brought_meanwhile(
    servers: Servers, long_linger: None
) -> None:
    """He would wait, and the job would be held by nobody."""
    urls = urls_of(servers)
    async with Pool({"a": urls["a"], "b": urls["b"]}, reconnect_delay=0.02) as pool:
        first = pool.reserve()
        await waiting_at({name: servers[name] for name in "ab"}, 1)
        first.cancel()
        pool.set_servers(urls)
        await until(lambda: len(pool.usable) == 3)
        servers["c"].freeze()
        second = pool.reserve()  # it asks c, where nothing waits
        async with client_of(servers["a"]) as client:
            await client.put(b"x")
        await until(lambda: pool._reserving and pool._reserving._kept)
        servers["c"].thaw()
        assert (await soon(second)).server == "a"


async def test_what_was_brought_on_a_connection_that_is_lost_is_given_to_nobody(
    servers: Servers, long_linger: None
) -> None:
    async with pool_of(servers) as pool:
        first = pool.reserve()
        await waiting_at(servers, 1)
        first.cancel()
        put = await pool.put(b"x")
        await until(lambda: pool._reserving and pool._reserving._kept)
        assert pool._reserving is not None
        pool._reserving._kept[0].holder.abort("the test cuts it")
        job = await soon(pool.reserve())
        assert job.id == put
        await job.delete()


async def test_what_comes_for_a_caller_who_is_gone_is_for_the_next_one(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for _ in range(5):
            first = pool.reserve()
            await waiting_at(servers, 1)
            first.cancel()
            put = await pool.put(b"x", priority=5)
            job = await soon(pool.reserve(3))
            assert job.id == put
            await job.delete()


async def test_a_cancelled_reserve_loses_no_job(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for delay in range(40):
            task = asyncio.ensure_future(_take(pool))
            put = asyncio.ensure_future(pool.put(b"x", priority=9))
            for _ in range(delay % 8):
                await asyncio.sleep(0)
            task.cancel()
            (got,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(got, PoolJob):  # it was too late to cancel
                await got.release(None)
            await put
        jobs = [job async for job in pool.jobs(1)]
        assert len(jobs) == 40
        assert {(await job.stats())["pri"] for job in jobs} == {9}


async def _take(pool: Pool) -> PoolJob:
    return await pool.reserve()


async def test_a_job_that_nobody_took_goes_back_when_its_future_is_collected(
    servers: Servers,
) -> None:
    async with pool_of(servers) as pool:
        await pool.put(b"x", priority=3)
        future = pool.reserve()
        await until(future.done)
        del future
        gc.collect()
        job = await soon(pool.reserve())
        assert (await job.stats())["pri"] == 3


async def test_what_forgotten_jobs_were_held_on_is_free_after_their_time_to_run(
    servers: Servers,
) -> None:
    async with Pool({"a": servers["a"].url}) as pool, client_of(servers["a"]) as client:
        for _ in range(3):
            waiting = pool.reserve()
            await until_awaited(lambda: _waits(client), "a connection that waits")
            await client.put(b"x", ttr=1)
            await soon(waiting)  # and nobody keeps it
            del waiting
            gc.collect()
        assert pool.connections >= 4
        for _ in range(3):
            await (await asyncio.wait_for(pool.reserve(), TIMEOUT)).delete()

        async def only_one_waits() -> bool:
            waiting = pool.reserve()
            await until_awaited(lambda: _waits(client), "a connection that waits")
            waiting.cancel()
            return pool.connections == 2

        await until_awaited(only_one_waits, "no connection that holds a job of before")


async def _waits(client: Client) -> bool:
    return (await client.stats())["current-waiting"] == 1


async def test_servers_that_have_jobs_are_served_evenly(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for server in servers.values():
            async with client_of(server) as client:
                await client.put_many([b"x"] * 300)
        taken = [await pool.reserve() for _ in range(90)]
        assert counts([job.id for job in taken]) == {"a": 30, "b": 30, "c": 30}


async def test_many_tasks_are_served_evenly_too(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for server in servers.values():
            async with client_of(server) as client:
                await client.put_many([b"x"] * 3000)
        taken: list[str] = []

        async def work() -> None:
            for _ in range(75):
                job = await pool.reserve()
                taken.append(job.id)
                await job.delete()

        await asyncio.gather(*(work() for _ in range(80)))
        assert all(1900 < count < 2100 for count in counts(taken).values())


async def test_what_a_client_of_the_pool_gives_back_is_not_taken_for_a_job_of_the_pool(
    servers: Servers,
) -> None:
    async with Pool({"a": servers["a"].url}) as pool:
        await pool.put(b"x", priority=8)
        of_the_client = pool.clients["a"].reserve(0)
        await until(of_the_client.done)
        servers["a"].freeze()
        of_the_pool = pool.reserve(0)
        del of_the_client  # its job goes back
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)
        servers["a"].thaw()
        with pytest.raises(TimedOut):
            await soon(of_the_pool)
        await priority_is_kept(servers["a"], 1, 8)


async def test_a_server_that_was_empty_is_not_forgotten_under_load(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        async with client_of(servers["a"]) as client:
            await client.put_many([b"x"] * 20_000)
        async with client_of(servers["b"]) as client:
            for _ in range(50):
                await (await soon(pool.reserve())).delete()
            await client.put(b"y")
        for _ in range(19_000):
            job = await soon(pool.reserve())
            if job.server == "b":
                break
            await job.delete()
        assert job.server == "b"


async def test_many_callers_share_what_comes(servers: Servers) -> None:
    """No job twice, none left, and nobody who waits for nothing."""
    done: list[str] = []

    async def work(pool: Pool) -> None:
        async for job in pool.jobs(1):
            done.append(job.id)
            await job.delete()

    async with pool_of(servers) as pool:
        workers = [asyncio.ensure_future(work(pool)) for _ in range(30)]
        ids = []
        for _ in range(20):
            ids += await pool.put_many([b"x"] * 50)
            await asyncio.sleep(0.005)
        await until(lambda: len(done) >= len(ids), "every job done")
        await asyncio.wait_for(asyncio.gather(*workers), 25)
        assert sorted(done) == sorted(ids)


async def test_watched_tubes_are_those_of_all_servers(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        waiting = pool.reserve()
        await waiting_at(servers, 1)
        assert await pool.watch("t") == 2
        ids = [await pool.put(b"x", tube="t") for _ in range(3)]
        assert (await soon(waiting)).id in ids
        assert await pool.ignore("default") == 1
        with pytest.raises(NotIgnored):
            await pool.ignore("t")
        assert pool.watching == {"t"}
        assert await pool.list_tubes_watched() == ["t"]
        await pool.put(b"x")
        assert [(await soon(pool.reserve())).id in ids for _ in range(2)] == [True, True]
        with pytest.raises(TimedOut):
            await pool.reserve(1)


async def test_one_job_can_be_reserved_by_its_id(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        put = await pool.put(b"x", delay=100)
        job = await pool.reserve_job(put)
        assert isinstance(job, PoolJob)
        assert job.id == put
        with pytest.raises(NotFound):
            await pool.reserve_job(put)
        await job.delete()


async def test_a_job_that_was_reserved_by_its_id_for_nobody_goes_back(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        put = await pool.put(b"x", priority=6)
        server = servers[put.partition("/")[0]]
        server.freeze()
        future = pool.reserve_job(put)
        future.cancel()
        server.thaw()
        await priority_is_kept(server, 1, 6)


# --- looking ---


async def test_statistics_are_sums(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await asyncio.gather(*(pool.put(b"x", tube="t") for _ in range(7)))
        stats = await pool.stats()
        assert stats["current-jobs-ready"] == stats["total-jobs"] == 7
        assert stats["max-job-size"] == 65535
        assert "pid" not in stats
        assert Stats.__required_keys__ <= stats.keys()
        tube = await pool.stats_tube("t")
        assert tube["current-jobs-ready"] == 7
        assert tube["name"] == "t"
        assert StatsTube.__required_keys__ <= tube.keys()
        with pytest.raises(NotFound):
            await pool.stats_tube("nowhere")
        assert (await pool.clients["a"].stats())["pid"] > 0


async def test_tubes_are_paused_on_all_servers(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await asyncio.gather(*(pool.put(b"x") for _ in range(3)))
        await pool.pause_tube("default", 100)
        assert (await pool.stats_tube("default"))["pause"] == 100, "no sum"
        with pytest.raises(TimedOut):
            await pool.reserve(0)
        await pool.pause_tube("default", 0)
        await pool.reserve(0)
        with pytest.raises(NotFound):
            await pool.pause_tube("nowhere", 1)


async def test_a_kick_counts_over_all_servers(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        ids = [await pool.put(b"x") for _ in range(6)]
        for _ in ids[:4]:
            await (await pool.reserve()).bury()
        assert await pool.kick(3) == 3
        assert await pool.kick(10) == 1
        assert await pool.kick(10) == 0
        for job_id in ids:
            await pool.delete(job_id)
        delayed = [await pool.put(b"x", delay=100) for _ in range(3)]
        buried = await pool.put(b"x")
        await (await pool.reserve()).bury()
        assert await pool.kick(10) == 1, "not the delayed ones, where any server has a buried one"
        assert (await pool.stats_job(buried))["state"] == "ready"
        await pool.kick_job(delayed[0])
        assert (await pool.stats_job(delayed[0]))["state"] == "ready"


async def test_peeks_look_at_one_server_after_the_other(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for peek in (pool.peek_ready, pool.peek_delayed, pool.peek_buried):
            with pytest.raises(NotFound):
                await peek()
        put = await pool.put(b"x", delay=100, tube="t")
        found = await pool.peek_delayed(tube="t")
        assert (found.id, found.body) == (put, b"x")
        await found.delete()


# --- arguments, callbacks, and the end ---


async def test_ids_of_other_kinds_are_refused(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for wrong in (17, "17", "d/17", "a/x", None, PoolJob("d/1", b"")):
            for verb in (pool.delete, pool.touch, pool.peek, pool.kick_job, pool.reserve_job):
                call: Any = verb
                with pytest.raises(InvalidArgument):
                    call(wrong)
        with pytest.raises(InvalidArgument):
            pool.put(17)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument):
            pool.put(b"x", tube="a b")
        with pytest.raises(InvalidArgument):
            pool.put(b"x", key=17)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument):
            pool.reserve(-1)
    for options in ({"strategy": "x"}, {"connect_timeout": -1}):
        with pytest.raises(InvalidArgument):
            Pool("beanstalk://h", **options)


async def test_callbacks_get_results_and_errors(servers: Servers) -> None:
    pool = pool_of(servers)
    got: list[Any] = []
    pool.connect(lambda: got.append("connected"))
    await until(lambda: got)
    pool.put(b"x", callback=got.append)
    pool.reserve(callback=got.append)
    await until(lambda: len(got) == 3)
    assert got[2].id == got[1]
    pool.delete(got[2], got.append)
    pool.stats_tube("nowhere", got.append)
    await until(lambda: len(got) == 5)
    assert got[3] is None
    assert isinstance(got[4], NotFound)
    pool.close(lambda: got.append("closed"))
    await until(lambda: len(got) == 6)


async def test_a_closed_pool_ends_everything_and_can_be_opened_again(servers: Servers) -> None:
    pool = pool_of(servers)
    for _ in range(2):
        async with pool:
            waiting = [pool.reserve(), pool.reserve(100)]
            await waiting_at(servers, 1)
            await pool.close()
            for each in waiting:
                with pytest.raises(ConnectionLost, match="closed"):
                    await each
            assert pool.closed()
            for verb in (pool.reserve, pool.stats, lambda: pool.put(b"x")):
                with pytest.raises(ConnectionLost):
                    await verb()
    await pool.close()
    for server in servers.values():
        async with client_of(server) as client:
            await nothing_reserved(client)


async def test_commands_leave_together(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        connections = [client.connection for client in pool.clients.values()]
        with pool.together():
            puts = [pool.put(b"x") for _ in range(9)]
            assert all(connection and connection._gathering == 1 for connection in connections)
        assert counts(await asyncio.gather(*puts)) == {"a": 3, "b": 3, "c": 3}
        assert not any(connection and connection._gathering for connection in connections)


async def test_a_pool_belongs_to_one_loop(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        with pytest.raises(RuntimeError, match="another event loop or thread"):
            await asyncio.to_thread(pool.put, b"x")


async def test_a_job_can_be_pickled_without_its_pool(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        put = await pool.put(b"x")
        job = pickle.loads(pickle.dumps(await pool.reserve()))
        assert type(job) is PoolJob
        assert (job.id, job.body) == (put, b"x")
        with pytest.raises(InvalidArgument):
            job.delete()
        await pool.delete(job.id)


# --- other servers than before ---


async def test_a_job_that_comes_while_its_server_is_removed_can_be_settled(
    servers: Servers,
) -> None:
    urls = urls_of(servers)
    async with Pool({"a": urls["a"]}, reconnect_delay=0.02) as pool:
        ids = [await pool.put(b"x") for _ in range(2)]
        under_way = [pool.reserve(), pool.reserve_job(ids[1])]
        pool.set_servers({"b": urls["b"]})
        for reserve in under_way:
            await soon((await soon(reserve)).delete())
        async with client_of(servers["a"]) as client:
            await until_awaited(lambda: _alone(client), "no connection of the pool")


async def test_a_reserve_that_does_not_wait_asks_those_that_stay(servers: Servers) -> None:
    """The server that is asked first, any of them, is removed meanwhile."""
    urls = urls_of(servers)
    both = {"a": urls["a"], "b": urls["b"]}
    async with Pool(both, reconnect_delay=0.02) as pool, client_of(servers["b"]) as client:
        for _ in range(12):
            await until(lambda: len(pool.usable) == 2)
            await client.put(b"x")
            reserve = pool.reserve(0)
            pool.set_servers({"b": urls["b"]})
            await (await soon(reserve)).delete()
            pool.set_servers(both)


async def test_connect_waits_for_one_of_the_new_servers(servers: Servers) -> None:
    urls = urls_of(servers)
    async with Pool({"a": urls["a"]}, reconnect_delay=0.02) as pool:
        pool.set_servers({"b": urls["b"], "c": urls["c"]})
        await soon(pool.connect())
        assert (await pool.put(b"x"))[0] in "bc"


async def _alone(client: Client) -> bool:
    """Return whether nothing but this client is connected to its server."""
    return (await client.stats())["current-connections"] == 1


async def test_servers_can_be_added_and_removed(servers: Servers) -> None:
    urls = urls_of(servers)
    async with Pool({"a": urls["a"], "b": urls["b"]}, reconnect_delay=0.02) as pool:
        ids = [await pool.put(b"x") for _ in range(4)]
        taken = [await soon(pool.reserve()) for _ in ids[:2]]
        waiting_for_c = pool.watch("t")
        pool.set_servers({"b": urls["b"] + "?weight=2", "c": urls["c"]})
        await waiting_for_c
        await until(lambda: pool.usable == ("b", "c"))
        assert "a" not in counts([await pool.put(b"x", tube="n") for _ in range(6)])
        for job in taken:  # also those of the server that was removed
            await soon(job.delete())
        left = [job async for job in pool.jobs(1)]
        assert {job.server for job in left} == {"b"}
        async with client_of(servers["c"]) as client:
            await client.put(b"x", tube="t")
        assert (await soon(pool.reserve())).server == "c"
        async with client_of(servers["a"]) as client:
            await until_awaited(lambda: _alone(client), "no connection of the pool")
