"""Deleting many jobs never touches a tube or a state that was not named."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from pathlib import Path

import pytest

from beanstalkt import Client, ConnectionLost, InvalidArgument, NotFound, UnexpectedResponse
from beanstalkt.admin import Progress, Summary, clear, delete, select
from beanstalkt.admin import change as change_module
from beanstalkt.server import Server

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of, nothing_reserved
from ..support.embedded import AnyServer
from ..support.peer import Line, Peer
from ..support.ports import free_port
from ..support.waiting import until


@pytest.fixture(params=["scan", "heads"])
def found_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the jobs are found: by a scan of ids, or as the next ones of their tubes."""
    monkeypatch.setattr(change_module, "HEAD_COST", 0 if request.param == "heads" else 10**9)
    name: str = request.param
    return name


async def fill(client: Client) -> Counter[str]:
    """Put jobs in each state but reserved into two tubes; return what there is."""
    for tube in ("a", "b"):
        await client.put_many([b"x"] * 70, tube=tube)
        await client.put_many([b"late"] * 40, delay=1000, tube=tube)
        for job_id in await client.put_many([b"bad"] * 50, tube=tube):
            await (await client.reserve_job(job_id)).bury()
    return await there(client)


async def there(client: Client) -> Counter[str]:
    found = Counter[str]()
    for tube in ("a", "b"):
        try:
            stats = dict(await client.stats_tube(tube))
        except NotFound:
            continue
        for state in ("ready", "delayed", "buried", "reserved"):
            found[f"{tube} {state}"] = int(str(stats[f"current-jobs-{state}"]))
    return +found


@pytest.mark.usefixtures("found_by")
@pytest.mark.parametrize(
    "states", [(), ("ready",), ("buried",), ("delayed",), ("ready", "buried")]
)
async def test_only_what_was_named_is_deleted(server: AnyServer, states: tuple[str, ...]) -> None:
    async with client_of(server) as client:
        before = await fill(client)
        summary = await clear(client, select("a", states))  # type: ignore[arg-type]
        gone = {f"a {state}" for state in states or ("ready", "buried", "delayed")}
        assert await there(client) == {k: n for k, n in before.items() if k not in gone}
        assert summary.done == sum(before[name] for name in gone)
        assert summary.tubes == {"a": summary.done}
        assert {f"a {state}": n for state, n in summary.states.items()} == {
            name: before[name] for name in gone
        }
        assert summary.ok


async def test_a_dry_run_counts_the_same_and_changes_nothing(server: AnyServer) -> None:
    async with client_of(server) as client:
        before = await fill(client)
        for selection in (
            select("a"),
            select("a", "buried"),
            select(states="delayed"),
            select("b", text="a"),
            select("b", until_id=200),
        ):
            planned = await delete(client, selection, dry_run=True)
            assert planned.dry_run
            assert await there(client) == before
            done = await delete(client, selection)
            assert (done.done, done.states) == (planned.done, planned.states)
            before = await there(client)


async def test_filters_and_limits_decide_how_many(server: AnyServer) -> None:
    async with client_of(server) as client:
        for priority in range(100):
            await client.put(b"%d" % priority, priority)
        assert (await delete(client, select(min_priority=90))).done == 10
        assert (await delete(client, select(text="7"))).done == 18
        limited = await delete(client, select(), limit=5)
        assert (limited.done, limited.limited) == (5, True)
        assert (await delete(client, select(), limit=0)).done == 0
        rest = await delete(client, select(), limit=1000)
        assert (rest.done, rest.limited) == (67, False)
        with pytest.raises(InvalidArgument):
            await delete(client, select(), limit=-1)


@pytest.mark.usefixtures("found_by")
@pytest.mark.parametrize("limit", [1, 69, 70, 71, 300])
async def test_a_limit_holds_across_states(server: AnyServer, limit: int) -> None:
    async with client_of(server) as client:
        before = await fill(client)
        summary = await clear(client, select("a"), limit=limit)
        assert summary.done == min(limit, 160)
        assert summary.limited == (limit < 160)
        assert (await there(client)).total() == before.total() - summary.done


async def test_the_ready_jobs_of_a_paused_tube_are_found_all_the_same(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 30, tube="a")
        await client.pause_tube("a", 1000)
        assert (await clear(client, select("a", "ready"))).done == 30


async def test_a_job_put_later_into_a_busy_tube_does_not_keep_it_going(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as producer:
        await client.put_many([b"x"] * 1000)

        async def produce() -> None:
            while not clearing.done():
                await producer.put_many([b"new"] * 100)

        clearing = asyncio.ensure_future(clear(client, select("default")))
        await asyncio.wait_for(produce(), 20)
        assert clearing.result().done >= 1000


async def test_a_reserved_job_is_left_to_its_worker(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as worker:
        await client.put_many([b"x"] * 3)
        job = await worker.reserve(0)
        own = await client.reserve(0)
        summary = await clear(client, select("default"))
        assert summary.done == 1
        assert summary.skipped == {"reserved by a worker": 2}
        await job.delete()
        await own.delete()
        with pytest.raises(InvalidArgument, match="reserved cannot be deleted"):
            await delete(client, select(states="reserved"))
        with pytest.raises(InvalidArgument, match="name of a tube"):
            await clear(client, select())


async def change_states(client: Client, ids: list[int], kept: set[int], seed: int) -> None:
    """Move jobs from state to state, as workers do; note in `kept` those that must stay.

    That is a job which was given another state than ``buried`` before it could be seen in that
    one, and so may be deleted only once it is buried again: it never is.
    """
    rng = random.Random(seed)
    rng.shuffle(ids)
    for job_id in ids:
        try:
            await client.kick_job(job_id)
        except NotFound:
            continue
        kept.add(job_id)
        if rng.random() < 0.5:
            try:
                job = await client.reserve_job(job_id)
                await job.release(None, delay=rng.choice([0, 1000]))
            except NotFound:
                continue


@pytest.mark.usefixtures("found_by")
async def test_jobs_that_leave_the_state_meanwhile_are_spared(server: AnyServer) -> None:
    """Two others kick buried jobs while they are cleared: no job that they kicked is deleted."""
    async with client_of(server) as client, client_of(server) as one, client_of(server) as two:
        ids = await client.put_many([b"x"] * 600)
        for job_id in ids:
            await (await client.reserve_job(job_id)).bury(1)
        kicked: set[int] = set()
        clearing = asyncio.ensure_future(clear(client, select("default", "buried")))
        await asyncio.gather(
            clearing,
            change_states(one, ids[:400], kicked, 1),
            change_states(two, ids[200:], kicked, 2),
        )
        summary = clearing.result()
        for job_id in kicked:
            stats = await client.stats_job(job_id)
            assert stats["state"] in ("ready", "delayed")
            assert stats["pri"] == 1
        left = await client.stats_tube("default")
        assert left["current-jobs-reserved"] == 0
        assert summary.done + len(kicked) + left["current-jobs-buried"] == len(ids)
        assert summary.done
        assert kicked


async def test_a_worker_that_buries_and_delays_loses_nothing(server: AnyServer) -> None:
    """While ready jobs are cleared, a worker gives some of them other states."""
    async with client_of(server) as client, client_of(server) as worker:
        await client.put_many([b"x"] * 2000)
        moved: set[int] = set()

        async def work() -> None:
            while not clearing.done():
                try:
                    job = await worker.reserve(0)
                except Exception:
                    await asyncio.sleep(0)
                    continue
                moved.add(job.id)
                if job.id % 2:
                    await job.bury()
                else:
                    await job.release(delay=1000)

        clearing = asyncio.ensure_future(clear(client, select("default", "ready")))
        await work()
        assert {job_id for job_id in moved if not await exists(client, job_id)} == set()
        stats = await client.stats_tube("default")
        assert stats["current-jobs-buried"] + stats["current-jobs-delayed"] == len(moved)
        assert clearing.result().done + len(moved) == 2000
        assert moved


async def exists(client: Client, job_id: int) -> bool:
    try:
        await client.stats_job(job_id)
    except NotFound:
        return False
    return True


async def test_jobs_of_other_tubes_stay_while_others_switch_tubes(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        kept: list[int] = []

        async def put_elsewhere() -> None:
            while not clearing.done():
                for tube in ("b", "a", "c"):
                    job_id = await other.put(b"x", tube=tube)
                    if tube != "a":
                        kept.append(job_id)

        await client.put_many([b"x"] * 2000, tube="a")
        clearing = asyncio.ensure_future(clear(client, select("a")))
        await put_elsewhere()
        assert clearing.result().done >= 2000
        assert [job_id for job_id in kept if not await exists(client, job_id)] == []


@pytest.mark.parametrize("state", [None, "ready"])
async def test_cancelled_it_ends_between_two_jobs(server: AnyServer, state: str | None) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 3000)
        summary = Summary()
        selection = select("default", [state] if state else [])  # type: ignore[list-item]
        clearing = asyncio.ensure_future(clear(client, selection, summary=summary))
        await until(lambda: summary.done)
        clearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await clearing
        assert summary.interrupted
        stats = await client.stats_tube("default")
        assert stats["current-jobs-ready"] == 3000 - summary.done
        assert stats["current-jobs-reserved"] == 0
        assert 0 < summary.done < 3000


async def test_a_server_that_goes_is_told(server: AnyServer) -> None:
    """What was deleted before is known; on the next connection nothing is deleted."""
    async with client_of(server) as client:
        await client.put_many([b"x"] * 20_000)
        summary = Summary()
        clearing = asyncio.ensure_future(clear(client, select("default"), summary=summary))
        await until(lambda: summary.done)
        server.restart()
        async with client_of(server) as other:
            await other.put_many([b"new"] * 10)
            with pytest.raises(ConnectionLost):
                await clearing
            assert (await other.stats_tube("default"))["current-jobs-ready"] == 10
        assert 0 < summary.done < 20_000
        assert summary.done + summary.unknown <= 20_000


async def test_a_server_that_is_silent_ends_it_in_time(apart: Beanstalkd) -> None:
    async with client_of(apart, response_timeout=0.5) as client:
        await client.put_many([b"x"] * 20_000)
        summary = Summary()
        clearing = asyncio.ensure_future(clear(client, select("default"), summary=summary))
        await until(lambda: summary.done)
        apart.freeze()
        with pytest.raises(ConnectionLost):
            await clearing
        assert summary.unknown
        apart.thaw()


async def test_a_server_that_takes_no_other_connection_is_cleared_as_well(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(client: Client, connect_timeout: float) -> Client:
        return Client("127.0.0.1", free_port(), 0.05)

    monkeypatch.setattr("beanstalkt.admin.ready_deletion.sibling", elsewhere)
    async with client_of(server) as client:
        await client.put_many([b"x"] * 30)
        await client.put(b"x", tube="b")
        summary = await clear(client, select("default"))
        assert (summary.done, summary.range) == (30, (1, 31))


async def test_the_other_connection_goes_where_the_first_one_goes(tmp_path: Path) -> None:
    server = Server()
    server.listen_unix(str(tmp_path / "socket"))
    try:
        async with Client.from_url(server.url, connect_timeout=10) as client:
            await client.put_many([b"x"] * 30, tube="a")
            await client.put(b"x", tube="b")
            summary = await clear(client, select("a"))
            assert (summary.done, summary.range) == (30, None)
    finally:
        server.stop()


async def test_the_statistics_of_another_job_delete_nothing() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"stats")
        counts = b"---\ncmd-put: 2\nbinlog-current-index: 0\ncurrent-jobs-ready: 2\n"
        line.send(b"OK %d\r\n%b\r\n" % (len(counts), counts))
        await line.expect(b"stats-job 1", b"stats-job 2")
        keys = ("pri", "age", "delay", "ttr", "time-left", "reserves", "timeouts", "releases")
        numbers = "".join(f"{key}: 0\n" for key in (*keys, "buries", "kicks"))
        data = f"---\nid: 2\ntube: t\nstate: ready\n{numbers}".encode()
        line.send(b"OK %d\r\n%b\r\n" % (len(data), data) * 2)
        await line.end()
        assert not [each for each in line.commands if each.startswith(b"delete")]

    async with Peer(script) as peer, client_of(peer) as client:
        with pytest.raises(UnexpectedResponse, match="job 2 for those of job 1"):
            await delete(client, select(text=""))


async def test_progress_counts_jobs(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanstalkt.admin.scan.PROGRESS_INTERVAL", 0)
    told: list[Progress] = []
    async with client_of(server) as client:
        await client.put_many([b"x"] * 1000)
        await clear(client, select("default"), progress=told.append)
    assert told[-1].done == told[-1].total == 1000
    assert [each.jobs for each in told] == sorted(each.jobs for each in told)


@pytest.mark.parametrize("after", [0, 100, 300])
async def test_where_the_connection_is_lost_few_buried_jobs_become_ready(
    server: AnyServer, after: int
) -> None:
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 500)
        for job_id in ids:
            await (await client.reserve_job(job_id)).bury()
        summary = Summary()
        clearing = asyncio.ensure_future(
            clear(client, select("default", "buried"), summary=summary)
        )
        await until(lambda: summary.done > after)
        connection = client._reconnector.connection
        assert connection is not None
        connection.abort("the test ends it")
        with pytest.raises(ConnectionLost):
            await clearing
        await client.connect()
        await nothing_reserved(client)
        left = await client.stats_tube("default")
        assert left["current-jobs-ready"] <= 32
        assert summary.unknown <= 32
        there = left["current-jobs-ready"] + left["current-jobs-buried"]
        assert summary.done <= len(ids) - there <= summary.done + summary.unknown


async def test_of_several_batches_that_are_lost_none_is_reported_to_the_loop(
    apart: Beanstalkd,
) -> None:
    """The loop of the tests fails where an error is."""
    async with client_of(apart, response_timeout=0.5) as client:
        await client.put_many([b"x"] * 3000, delay=1000)
        summary = Summary()
        deleting = asyncio.ensure_future(delete(client, select(states="delayed"), summary=summary))
        await until(lambda: summary.done)
        apart.freeze()
        with pytest.raises(ConnectionLost):
            await deleting
        assert summary.unknown  # they may be ready when the server goes on
        apart.thaw()
    del deleting
    gc.collect()
