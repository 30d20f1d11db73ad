"""What was exported is imported with all that it had, and what goes wrong is said."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanstalkt import Client, ConnectionLost, InvalidArgument
from beanstalkt.admin import Progress, Summary, export_jobs, import_jobs, select
from beanstalkt.admin import importer as module
from beanstalkt.admin.journal import Journal, checksum_of

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of, drained
from ..support.embedded import AnyServer, Embedded
from ..support.peer import Line, Peer
from ..support.population import KINDS, Kind, empty, kind, populate, population, same
from ..support.waiting import until


def line(body: str = "x", **fields: Any) -> str:
    return json.dumps({"tube": "a", "body": body, **fields})


async def exported(client: Client, *tubes: str) -> list[bytes]:
    return [each async for each in export_jobs(client, select(tubes))]


@pytest.fixture
def other(server: AnyServer) -> Iterator[AnyServer]:
    """A second server, of the other kind than `server` where there are both."""
    made = Embedded() if isinstance(server, Beanstalkd) else Beanstalkd()
    made.start()
    yield made
    made.stop()


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(kinds=st.lists(KINDS, max_size=8))
def test_an_import_of_an_export_is_the_same_jobs(
    server: AnyServer, other: AnyServer, kinds: list[Kind]
) -> None:
    async def there_and_back() -> None:
        async with client_of(server) as source, client_of(other) as target:
            await populate(source, kinds)
            try:
                lines = await exported(source)
                same(await population(source), kinds)
                summary = await import_jobs(target, lines)
                # In one tube, the order is kept; ids of several tubes may be mixed otherwise.
                for tube in {each.tube for each in kinds}:
                    those = [each for each in kinds if each.tube == tube]
                    same(await population(target, tube), those)
                assert summary.ok
                assert summary.done == len(kinds) == len(await population(target))
                # What has come over is exported as the same lines, but for ids and delays.
                again = [_fixed(each) for each in await exported(target)]
                assert sorted(again) == sorted(map(_fixed, lines))
            finally:
                await empty(source)
                await empty(target)

    asyncio.run(there_and_back())


def _fixed(line: bytes) -> str:
    return json.dumps({**json.loads(line), "id": 0, "delay": 0})


async def test_what_was_reserved_comes_back_ready_and_that_is_said(server: AnyServer) -> None:
    async with client_of(server) as client:
        await populate(client, [kind(b"held", "reserved"), kind(b"free", tube="b")])
        summary = Summary()
        lines = [each async for each in export_jobs(client, select(), summary=summary)]
        assert [json.loads(each)["state"] for each in lines] == ["reserved", "ready"]
        assert summary.states == {"reserved": 1, "ready": 1}
        assert summary.range == (1, 2)
        done = await import_jobs(client, lines, tube="c")
        same(await population(client, "c"), [kind(b"held", tube="c"), kind(b"free", tube="c")])
        assert done.states == {"ready": 2}
        assert any("1 were reserved when" in note for note in done.notes)


async def test_a_worker_never_gets_a_job_that_is_to_be_buried(server: AnyServer) -> None:
    lines = [line(str(number), state="buried", priority=number) for number in range(600)]
    async with client_of(server) as client, client_of(server) as worker:
        await worker.watch("a")
        waiting = worker.reserve()
        summary = await import_jobs(client, lines)
        assert summary.states == {"buried": 600}
        assert not waiting.done()
        assert [each.state for each in await population(client)] == ["buried"] * 600
        assert await client.kick(1, tube="a") == 1
        assert (await waiting).body == b"0"
        assert (await worker.stats_job(1))["pri"] == 0


async def test_ready_jobs_keep_their_order_though_tubes_alternate(server: AnyServer) -> None:
    numbers = range(1000)
    lines = [line(str(number), tube=f"t{number % 7}") for number in numbers]
    async with client_of(server) as client:
        await client.use("mine")
        await import_jobs(client, lines)
        for tube in range(7):
            found = [int(each.body) for each in await population(client, f"t{tube}")]
            assert found == [number for number in numbers if number % 7 == tube]
        assert await client.list_tube_used() == "mine"


@pytest.mark.parametrize("on_error", ["stop", "skip"])
async def test_a_wrong_line_is_named_and_the_rest_stops_or_goes_on(
    server: AnyServer, on_error: Any
) -> None:
    lines = [line("1"), "", line("3", ttr=-1), line("4"), '{"tube": "a"', line("6")]
    async with client_of(server) as client:
        summary = await import_jobs(client, lines, on_error=on_error)
        bodies = [each.body for each in await population(client)]
        wrong = [(3, "ttr: it must be from 0 to 4294967295")]
        if on_error == "stop":
            assert bodies == [b"1"]
            assert summary.failures == wrong
            assert summary.notes == ["no line after line 3 was put"]
        else:
            assert bodies == [b"1", b"4", b"6"]
            assert summary.failures[:1] == wrong
            assert summary.failures[1][0] == 5
        assert not summary.ok
        assert summary.noun == "line"


async def test_a_body_that_is_too_big_for_the_server_is_refused(server: AnyServer) -> None:
    lines = [line("x" * 65535), line("x" * 65536), line("3")]
    async with client_of(server) as client:
        summary = await import_jobs(client, lines, on_error="skip")
        assert summary.done == 2
        ((number, reason),) = summary.failures
        assert number == 2
        assert "65,536 bytes" in reason


@pytest.mark.parametrize("on_error", ["stop", "skip"])
async def test_a_server_that_drains_in_the_middle(
    server: AnyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: Any
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    async with client_of(server) as client:

        async def lines() -> AsyncIterator[str]:
            for number in range(1, 101):
                if number == 51:
                    await drained(server)
                yield line(str(number))

        summary = await import_jobs(client, lines(), on_error=on_error, resume=tmp_path / "j")
        put = summary.done
        assert put < 60
        assert summary.failures[0][0] == put + 1
        assert "DRAINING" in summary.failures[0][1]
        if on_error == "skip":
            assert summary.failed == 100 - put
        else:
            assert summary.failed <= 20
            assert summary.notes == [f"no line after line {put + summary.failed} was put"]
        found = [int(each.body) for each in await population(client, "a")]
        assert found == list(range(1, put + 1))
    # Put to a server that takes jobs again, what was refused is put, and nothing twice.
    if isinstance(server, Beanstalkd):
        return  # it takes none until it is restarted
    assert server._running is not None
    server._running.engine.draining = False
    async with client_of(server) as client:
        rest = [line(str(number)) for number in range(1, 101)]
        summary = await import_jobs(client, rest, resume=tmp_path / "j")
        assert summary.ok
        assert summary.done == 100 - put
        found = sorted(int(each.body) for each in await population(client, "a"))
        assert found == list(range(1, 101))


async def test_the_same_import_again_puts_nothing_twice(server: AnyServer, tmp_path: Path) -> None:
    lines = [line(str(number)) for number in range(1, 700)]
    async with client_of(server) as client:
        first = await import_jobs(client, lines[:400], resume=tmp_path / "j")
        assert first.done == 400
        second = await import_jobs(client, lines, resume=tmp_path / "j")
        assert second.done == 299
        assert second.skipped == {"imported before": 400}
        third = await import_jobs(client, lines, resume=tmp_path / "j")
        assert (third.done, third.ok) == (0, True)
        found = sorted(int(each.body) for each in await population(client))
        assert found == list(range(1, 700))


async def test_a_line_that_was_put_right_is_taken_by_the_next_import(
    server: AnyServer, tmp_path: Path
) -> None:
    lines = [line("1"), line("2", ttr="?"), line("3")]
    async with client_of(server) as client:
        await import_jobs(client, lines, on_error="skip", resume=tmp_path / "j")
        lines[1] = line("2", ttr=1)
        summary = await import_jobs(client, lines, on_error="skip", resume=tmp_path / "j")
        assert (summary.done, summary.skipped["imported before"]) == (1, 2)
        assert sorted(each.body for each in await population(client)) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("changed", [0, 299])
async def test_other_lines_than_those_of_the_journal_are_refused(
    server: AnyServer, tmp_path: Path, changed: int
) -> None:
    lines = [line(str(number)) for number in range(300)]
    async with client_of(server) as client:
        await import_jobs(client, lines, resume=tmp_path / "j")
        lines[changed] = line("another")
        lines.append(line("more"))
        with pytest.raises(InvalidArgument, match="other lines than these"):
            await import_jobs(client, lines, resume=tmp_path / "j")
        assert len(await population(client)) == 300


async def test_the_journal_of_a_server_that_lost_its_jobs_is_refused(
    server: AnyServer, tmp_path: Path
) -> None:
    async with client_of(server) as client:
        await import_jobs(client, [line()], resume=tmp_path / "j")
    server.restart()
    async with client_of(server) as client:
        with pytest.raises(InvalidArgument, match="keeps no binlog"):
            await import_jobs(client, [line()], resume=tmp_path / "j")


async def test_the_journal_of_a_restarted_server_with_a_binlog_goes_on(tmp_path: Path) -> None:
    (tmp_path / "binlog").mkdir()
    server = Beanstalkd("-b", str(tmp_path / "binlog"))
    server.start()
    try:
        lines = [line("1", state="buried"), line("2")]
        async with client_of(server) as client:
            await import_jobs(client, lines[:1], resume=tmp_path / "j")
        server.restart(signal.SIGTERM)
        async with client_of(server) as client:
            summary = await import_jobs(client, lines, resume=tmp_path / "j")
            assert summary.done == 1
            same(await population(client), [kind(b"1", "buried", priority=2**31, ttr=120),
                                            kind(b"2", priority=2**31, ttr=120)])  # fmt: skip
    finally:
        server.stop()


@pytest.mark.parametrize("lost", [3, 4])
async def test_equal_bodies_are_not_taken_for_each_other(
    server: AnyServer, tmp_path: Path, lost: int
) -> None:
    """The first two lines were done; of the others, one was put before the process was killed."""
    kinds = [{"priority": 7}, {"priority": 7}, {"priority": 7}, {"priority": 9}]
    lines = [line("same", **each) for each in kinds]
    sums = [checksum_of(each.encode(), number) for number, each in enumerate(lines, 1)]
    async with client_of(server) as client:
        with Journal(tmp_path / "j") as journal:
            journal.use((await client.stats())["id"], str(client.address))
            first = await client.put("same", 7, tube="a")
            journal.begin([1])
            journal.end([1], [], sums[0], [first])
            journal.begin([2])
            journal.begin([3, 4])
            second = await client.put("same", 7, tube="a")
            journal.end([2], [], sums[1], [second])
            await client.put("same", 9 if lost == 3 else 7, tube="a")
        summary = await import_jobs(client, lines, resume=tmp_path / "j")
        assert (summary.done, summary.skipped["imported before"]) == (2, 2)
        assert sorted(each.priority for each in await population(client)) == [7, 7, 7, 9]


async def test_a_dry_run_counts_and_puts_nothing(server: AnyServer, tmp_path: Path) -> None:
    lines = [line("1"), line("2", delay=5), line("3", state="gone"), line("4", tube="b")]
    async with client_of(server) as client:
        summary = await import_jobs(
            client, lines, dry_run=True, on_error="skip", resume=tmp_path / "j"
        )
        assert (summary.done, summary.failed, summary.dry_run) == (3, 1, True)
        assert summary.states == {"ready": 2, "delayed": 1}
        assert summary.tubes == {"a": 2, "b": 1}
        assert await population(client) == []
        assert not (tmp_path / "j").exists()


async def test_progress_is_told_at_the_end_at_least(server: AnyServer) -> None:
    told: list[Progress] = []
    async with client_of(server) as client:
        await import_jobs(client, [line()] * 3, progress=told.append)
    assert (told[-1].what, told[-1].done, told[-1].total) == ("jobs put", 3, 3)


async def test_cancelled_it_ends_between_two_jobs(server: AnyServer, tmp_path: Path) -> None:
    taken = 0

    async def lines() -> AsyncIterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield line(str(taken), state="buried")

    async with client_of(server) as client:
        summary = Summary()
        running = asyncio.ensure_future(
            import_jobs(client, lines(), resume=tmp_path / "j", summary=summary)
        )
        await until(lambda: summary.done > 500)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert summary.interrupted
        found = await population(client)
        assert len(found) == summary.done
        assert {each.state for each in found} == {"buried"}
        again = await import_jobs(
            client,
            [line(str(number), state="buried") for number in range(1, taken + 1)],
            resume=tmp_path / "j",
        )
        assert again.skipped["imported before"] == summary.done
        assert sorted(int(each.body) for each in await population(client)) == [
            *range(1, taken + 1)
        ]


async def test_a_server_without_memory_buries_what_it_refuses_and_that_is_removed() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"stats")
        line.send(b"OK 4\r\n---\n\r\n")
        await line.expect(b"use a", b"put 0 0 9 1\r\nx", b"put 1 0 9 1\r\ny", b"use default")
        line.send(b"USING a\r\nBURIED 7\r\nINSERTED 8\r\nUSING default\r\n")
        await line.expect(b"delete 7")
        line.send(b"DELETED\r\n")
        await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        lines = [line("x", priority=0, ttr=9), line("y", priority=1, ttr=9)]
        summary = await import_jobs(client, lines)
        assert summary.done == 1
        ((number, reason),) = summary.failures
        assert number == 1
        assert "out of memory" in reason


async def test_a_job_that_cannot_be_buried_does_not_stay_hidden() -> None:
    """The server is too old: it knows no reserve-job."""

    async def script(line: Line) -> None:
        await line.expect(b"stats")
        line.send(b"OK 4\r\n---\n\r\n")
        await line.expect(b"use a", b"put 0 4294967295 9 1\r\nx", b"use default")
        line.send(b"USING a\r\nINSERTED 7\r\nUSING default\r\n")
        await line.expect(b"reserve-job 7", b"bury 7 0")
        line.send(b"UNKNOWN_COMMAND\r\nNOT_FOUND\r\n")
        await line.expect(b"delete 7")
        line.send(b"DELETED\r\n")
        await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        lines = [line("x", priority=0, ttr=9, state="buried")]
        summary = await import_jobs(client, lines)
        assert summary.done == 0
        ((number, reason),) = summary.failures
        assert number == 1
        assert "use a newer beanstalkd" in reason


async def test_a_server_that_goes_in_the_middle_leaves_what_it_did_not_answer_unknown(
    tmp_path: Path,
) -> None:
    async def script(line: Line) -> None:
        await line.expect(b"stats")
        line.send(b"OK 4\r\n---\n\r\n")
        await line.expect(b"use a", b"put 0 0 9 1\r\nx", b"use default")
        line.send(b"USING a\r\nINSERTED 8\r\nUSING default\r\n")
        await line.expect(b"use a", b"put 0 0 9 1\r\ny", b"put 0 0 9 1\r\nz", b"use default")
        line.send(b"USING a\r\nINSERTED 9\r\n")

    async with Peer(script) as peer, client_of(peer) as client:
        lines = [line(body, priority=0, ttr=9) for body in "xyz"]
        summary = Summary()
        with pytest.raises(ConnectionLost):
            await import_jobs(client, lines, summary=summary, resume=tmp_path / "j")
        assert (summary.done, summary.unknown) == (2, 1)
        assert not summary.ok
