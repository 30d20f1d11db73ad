"""A scan finds every job, moves none, and tells what it has looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from beanstalkt import Client, ConnectionLost, NotFound
from beanstalkt.admin import Progress, Scan, select
from beanstalkt.admin import scan as module

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.peer import Line, Peer
from ..support.waiting import until


async def fill(client: Client) -> dict[str, int]:
    """Put a job in each state into two tubes; return the ids by the names of the bodies."""
    ids = {}
    for tube in ("a", "b"):
        for name in ("buried", "reserved", "ready", "delayed"):
            body = f"{tube} {name}"
            delay = 100 if name == "delayed" else 0
            ids[body] = await client.put(body, 7, delay, 50, tube=tube)
        job = await client.reserve_job(ids[f"{tube} buried"])
        await job.bury(9)
        await client.reserve_job(ids[f"{tube} reserved"])
    return ids


async def test_a_job_is_found_in_every_state_and_stays_there(server: AnyServer) -> None:
    async with client_of(server) as client:
        ids = await fill(client)
        scan = Scan(client, select("a"), bodies=True)
        records = [record async for record in scan]
        assert [record.id for record in records] == sorted(
            job_id for name, job_id in ids.items() if name.startswith("a")
        )
        assert {record.body: record.state for record in records} == {
            b"a buried": "buried",
            b"a reserved": "reserved",
            b"a ready": "ready",
            b"a delayed": "delayed",
        }
        assert {record.priority for record in records} == {7, 9}
        assert {record.ttr for record in records} == {50}
        assert scan.complete
        assert scan.exact
        assert scan.range == (1, 8)
        for record in records:
            stats = await client.stats_job(record.id)
            assert (stats["state"], stats["pri"]) == (record.state, record.priority)
            assert stats["reserves"] == record.reserves


async def test_fields_and_limits_narrow_it(server: AnyServer) -> None:
    async with client_of(server) as client:
        ids = await fill(client)

        async def found(scan: Scan) -> list[int]:
            return [record.id async for record in scan]

        assert await found(Scan(client, select("b", "delayed"))) == [ids["b delayed"]]
        assert await found(Scan(client, select(pattern="^a r"))) == [
            ids["a reserved"],
            ids["a ready"],
        ]
        late = Scan(client, select(since_id=3, until_id=6))
        assert await found(late) == [3, 4, 5, 6]
        assert late.range == (3, 6)
        few = Scan(client, select("b"), bodies=True, limit=2)
        assert await found(few) == [5, 6]
        assert not few.complete
        assert await found(Scan(client, select("c"))) == []
        assert await found(Scan(client, select(), limit=0)) == []


async def test_many_ids_and_few_jobs(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_INTERVAL", 0)
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 4000)
        kept = {1, 700, 2000, 2600}
        for job_id in ids:
            if job_id not in kept:
                client.delete(job_id)
        told: list[Progress] = []
        scan = Scan(client, select(), progress=told.append)
        assert {record.id async for record in scan} == kept
        # It has seen all jobs then, so it looks no further than it had asked by then.
        assert scan.range is not None
        assert scan.range[1] < 4000
        assert [each.done for each in told] == sorted(each.done for each in told)
        assert told[0].total == 4000
        assert told[-1].done == told[-1].total == scan.looked_at
        assert told[-1].jobs == 4


async def test_jobs_that_go_and_come_meanwhile(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put_many([b"x"] * 1500)
        scan = Scan(client, select(), bodies=True)
        first = await scan.__anext__()
        assert first.id == 1
        for job_id in range(2, 1401):
            other.delete(job_id)
        await other.put_many([b"new"] * 100)
        rest = [record.id async for record in scan]
        assert set(range(1401, 1501)) <= set(rest) <= set(range(2, 1501))
        assert len(rest) == len(set(rest))
        assert scan.put_since == 100
        assert scan.range == (1, 1500)


async def test_what_vanished_before_its_body_was_read_is_counted(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        await client.put_many([b"x"] * 20, delay=1000)
        scan = Scan(client, select(), bodies=True)
        await scan._begin()
        scan._ask_for_ids()
        await scan._looks[0][1]
        await other.delete(13)
        assert [record.id async for record in scan] == [*range(1, 13), *range(14, 21)]
        assert scan.vanished == 1


async def test_a_server_that_has_restored_its_jobs(tmp_path: Path) -> None:
    """It counts no puts then, and ids go on where they were."""
    server = Beanstalkd("-b", str(tmp_path))
    server.start()
    try:
        async with client_of(server) as client:
            ids = await client.put_many([b"x"] * 40, tube="a")
            for job_id in ids[:10] + ids[20:]:
                await client.delete(job_id)
        server.restart()
        async with client_of(server) as client:
            await client.put(b"new", tube="b")
            scan = Scan(client, select())
            assert [record.id async for record in scan] == [*range(11, 21), 41]
            assert not scan.exact
            assert scan.complete
            empty = Scan(client, select("c"))
            assert [record async for record in empty] == []
            assert empty.range is None
            late = Scan(client, select(since_id=15))
            assert [record.id async for record in late] == [*range(15, 21), 41]
    finally:
        server.stop()


async def test_jobs_far_apart_are_found_where_the_extent_is_not_known(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARGIN", 10)
    monkeypatch.setattr("beanstalkt.admin.extent.highest_id_of", lambda stats: None)
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 900)
        for job_id in ids:
            if job_id not in (2, 899, 900):
                client.delete(job_id)
        scan = Scan(client, select())
        assert [record.id async for record in scan] == [2, 899, 900]
        assert not scan.exact


async def test_ids_that_go_further_than_the_server_tells_are_found() -> None:
    """A server that has restored jobs, and cannot write its binlog any more, tells no number."""
    jobs = {1, 2, 30, 41}
    claimed = 0

    def dictionary(text: str) -> bytes:
        return b"OK %d\r\n---\n%b\r\n" % (len(text) + 4, text.encode())

    def job(job_id: int) -> bytes:
        keys = ("pri", "age", "delay", "ttr", "time-left", "reserves", "timeouts", "releases")
        numbers = "".join(f"{key}: 0\n" for key in (*keys, "buries", "kicks"))
        return dictionary(f"id: {job_id}\ntube: default\nstate: ready\n{numbers}")

    async def script(line: Line) -> None:
        while True:
            verb, _, word = (await line.command()).decode().partition(" ")
            if verb in ("stats", "stats-tube"):
                counts = f"current-jobs-ready: {claimed}\n"
                line.send(dictionary(f"cmd-put: 2\nbinlog-current-index: 0\n{counts}"))
            elif verb == "stats-job" and int(word) in jobs:
                line.send(job(int(word)))
            elif verb == "list-tubes":
                line.send(dictionary("- default\n- no name\n"))
            elif verb == "use":
                line.send(f"USING {word}\r\n".encode())
            elif verb == "peek-ready":
                line.send(b"FOUND 30 0\r\n\r\n")
            elif verb == "quit":
                return
            else:
                line.send(b"NOT_FOUND\r\n")

    # With a number of jobs that is too high, it comes to an end all the same.
    for number in (4, 5):
        claimed = number
        async with Peer(script) as peer, client_of(peer) as client:
            scan = Scan(client, select())
            assert [record.id async for record in scan] == sorted(jobs)
            assert not scan.exact
            (note,) = scan.notes
            assert "does not tell how far its ids go" in note


async def test_bodies_of_all_sizes(server: AnyServer) -> None:
    sizes = [0, 65535, 1, 65000, 100] * 30
    async with client_of(server) as client:
        await client.put_many([b"x" * size for size in sizes])
        scan = Scan(client, select(), bodies=True)
        assert [len(record.body or b"") async for record in scan] == sizes


async def test_a_lost_connection_ends_it(server: AnyServer) -> None:
    """On the next one, the ids may be those of other jobs."""
    async with client_of(server) as client:
        await client.put_many([b"x"] * 1000)
        scan = Scan(client, select(), bodies=True)
        await scan.__anext__()
        server.restart()
        with pytest.raises(ConnectionLost):
            async for _ in scan:
                pass
        await client.connect()
        with pytest.raises(ConnectionLost):
            await scan.__anext__()
        assert not scan.complete


async def test_a_cancelled_step_can_be_taken_again(apart: Beanstalkd) -> None:
    async with client_of(apart) as client:
        await client.put_many([b"x"] * 600)
        scan = Scan(client, select())
        await scan._begin()
        apart.freeze()
        step = asyncio.ensure_future(scan.__anext__())
        await until(lambda: scan._looks)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        apart.thaw()
        assert [record.id async for record in scan] == [*range(1, 601)]


async def test_others_get_through(server: AnyServer) -> None:
    """Another user of the same client is answered while a scan goes on."""
    async with client_of(server) as client:
        await client.put_many([b"x"] * 20_000)
        scan = Scan(client, select())
        records = []

        async def run() -> None:
            records.extend([record.id async for record in scan])

        running = asyncio.ensure_future(run())
        await until(lambda: scan.looked_at)
        await client.put(b"in between")
        with pytest.raises(NotFound):
            await client.peek(10**9)
        assert scan.looked_at < 20_000
        await running
        assert records == [*range(1, 20_001)]


async def test_a_job_that_is_not_there_whole_is_none(server: AnyServer) -> None:
    async with client_of(server) as client:
        with server.connect() as half:
            half.sendall(b"put 0 0 100 10\r\nhalf")
            await client.put(b"whole")

            async def cmd_put() -> bool:
                return (await client.stats())["cmd-put"] == 2

            while not await cmd_put():
                await asyncio.sleep(0.001)
            found = [record async for record in Scan(client, select(), bodies=True)]
            assert [record.body for record in found] == [b"whole"]
