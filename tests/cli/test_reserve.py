"""The verbs reserve and reserve-job: their arguments, and what becomes of each job."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt import Client, errors
from beanstalkt.cli import reserve as module
from beanstalkt.cli.parser import parse
from beanstalkt.cli.reserve import PrintedJobs, reserve, wait_for_job
from beanstalkt.job import Job
from tests.support.clients import HasAddress, client_of, nothing_reserved, until_waiting
from tests.support.embedded import AnyServer
from tests.support.peer import Line, Peer
from tests.support.waiting import TIMEOUT, soon, until, until_awaited


def test_reserve_takes_its_old_letters() -> None:
    options = parse(
        ["reserve", "-t", "5", "-w", "a", "-w", "b", "-i", "release", "-p", "1", "-d", "2"]
    )
    assert options.action == "release"
    assert (options.timeout, options.watch, options.ignore_default) == (5, ["a", "b"], True)
    assert (options.priority, options.delay) == (1, 2)


def test_reserve_waits_for_ever_on_default_and_keeps_the_priority() -> None:
    options = parse(["reserve"])
    assert options.action is None
    assert (options.timeout, options.watch, options.ignore_default) == (None, [], False)
    assert (options.priority, options.delay) == (None, None)


@pytest.mark.parametrize("action", ["delete", "release", "bury"])
def test_reserve_and_reserve_job_take_an_action(action: str) -> None:
    assert parse(["reserve", action]).action == action
    assert parse(["reserve-job", "7", action]).action == action


def held(**methods: Any) -> Mock:
    """A reserved job that notes what is asked of it."""
    verbs = {name: AsyncMock() for name in ("delete", "release", "bury")}
    return Mock(spec=Job, id=1, body=b"x", **{**verbs, **methods})


async def settle(job: Job, options: Namespace) -> int:
    printed = PrintedJobs(options)
    await printed.add(job)
    await printed.settle_held()
    return printed.status


async def test_reserve_watches_before_it_ignores() -> None:
    calls: list[tuple[str, object]] = []
    job = held()

    async def note(verb: str, name: str) -> None:
        calls.append((verb, name))

    client = Mock(
        watch=lambda name: note("watch", name),
        ignore=lambda name: note("ignore", name),
        reserve=lambda timeout: asyncio.ensure_future(asyncio.sleep(0, job)),
    )
    await reserve(client, parse(["reserve", "-i", "-w", "a", "-w", "b", "delete"]))
    assert calls == [("watch", "a"), ("watch", "b"), ("ignore", "default")]
    job.delete.assert_awaited_once_with()


@pytest.mark.parametrize(
    ("words", "method", "expected"),
    [
        (["delete"], "delete", ()),
        (["release"], "release", (None, 0)),
        (["release", "-p", "1", "-d", "2"], "release", (1, 2)),
        (["bury"], "bury", (None,)),
        (["bury", "-p", "1"], "bury", (1,)),
    ],
)
async def test_a_job_is_printed_before_it_is_settled(
    words: list[str],
    method: str,
    expected: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed: list[str] = []

    async def note(*arguments: object) -> None:
        assert arguments == expected
        printed.append(capsys.readouterr().out)

    await settle(held(**{method: note}), parse(["reserve", *words]))
    assert printed == ['{\n  "body": "x",\n  "id": 1\n}\n']


async def test_without_an_action_a_job_is_printed_and_no_more() -> None:
    job = held()
    await settle(job, parse(["reserve"]))
    for method in (job.delete, job.release, job.bury):
        method.assert_not_called()


# --- what becomes of printed jobs -----------------------------------------------------------


async def test_a_job_that_could_not_be_settled_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = held(delete=AsyncMock(side_effect=errors.NotFound("delete: gone")))
    assert await settle(job, parse(["reserve", "delete"])) == 1
    assert capsys.readouterr().err == (
        "beanstalkt: job 1 was printed, and not deleted: delete: gone\n"
    )


async def test_a_job_that_may_have_been_settled_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = errors.ConnectionLost("lost")
    lost.sent = True
    assert await settle(held(bury=AsyncMock(side_effect=lost)), parse(["reserve", "bury"])) == 69
    assert "job 1 was printed, and perhaps not buried: lost" in capsys.readouterr().err


async def test_an_interrupt_waits_for_the_job_that_was_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(settle(held(delete=lambda: settled), parse(["reserve", "delete"])))
    await until(lambda: '"id": 1' in capsys.readouterr().out)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    settled.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await soon(task)
    assert capsys.readouterr().err == ""


async def test_a_second_interrupt_waits_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(settle(held(delete=lambda: never), parse(["reserve", "delete"])))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)
    assert "job 1 was printed, and perhaps not deleted: interrupted" in capsys.readouterr().err


# --- many jobs, with a server ---------------------------------------------------------------


async def run(server: HasAddress, *words: str) -> int:
    async with client_of(server, connect_timeout=TIMEOUT) as client:
        return await reserve(client, parse(["reserve", "--json-lines", *words]))


def ids_of(capsys: pytest.CaptureFixture[str]) -> list[int]:
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("action", ["delete", "release", "bury", None])
async def test_each_job_is_printed_once_and_settled(
    server: AnyServer, action: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [] if action is None else [action]
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 4, 7)
        assert await run(server, "-n", "3", *words) == 0
        assert ids_of(capsys) == ids[:3]
        await nothing_reserved(client)
        stats = await client.stats_tube("default")
        left = (stats["current-jobs-ready"], stats["current-jobs-buried"])
        assert left == {"delete": (1, 0), "bury": (1, 3)}.get(action or "", (4, 0))
        if action != "delete":
            job = await client.stats_job(ids[0])
            assert (job["pri"], job["releases"]) == (7, action == "release")


@pytest.mark.parametrize("action", ["delete", "bury"])
async def test_a_job_is_settled_before_the_next_one_is_reserved(
    server: AnyServer, action: str
) -> None:
    async with client_of(server) as client:
        await client.put(b"x")
        running = asyncio.ensure_future(run(server, "-n", "2", "-t", "20", action))
        await until_awaited(lambda: settled(client, action))
        assert not running.done()
        await client.put(b"y")
        assert await running == 0


async def settled(client: Client, action: str) -> int:
    stats = await client.stats_tube("default")
    return stats["cmd-delete" if action == "delete" else "current-jobs-buried"]


@pytest.mark.parametrize("action", ["delete", "release"])
async def test_fewer_jobs_than_asked_for_are_told(
    server: AnyServer, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [action] if action == "delete" else [action, "-d", "60"]
    async with client_of(server) as client:
        await client.put_many([b"x"] * 2)
        with pytest.raises(errors.TimedOut):
            await run(server, "-n", "3", "-t", "0", *words)
        printed = capsys.readouterr()
        assert printed.err == "beanstalkt: 2 of 3 jobs were reserved and printed\n"
        assert printed.out.count("\n") == 2
        stats = await client.stats_tube("default")
        assert stats["current-jobs-delayed"] == (2 if action == "release" else 0)
        assert stats["current-jobs-ready"] == 0


async def test_jobs_are_kept_while_more_are_awaited(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their time to run would be over before the last one comes."""
    async with client_of(server) as client:
        await client.put("x", ttr=1)
        running = asyncio.create_task(run(server, "-n", "2", "release"))
        touched = (await client.stats())["cmd-touch"]

        async def kept() -> bool:
            return (await client.stats())["cmd-touch"] >= touched + 5

        await until_awaited(kept)
        await client.put("y")
        assert await soon(running) == 0
        assert len(ids_of(capsys)) == 2
        assert (await client.stats_job(1))["timeouts"] == 0


async def test_an_interrupt_settles_what_was_printed(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 2)
        running = asyncio.create_task(run(server, "-n", "9", "release", "-d", "60"))
        await until_waiting(client, 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(running)
        printed = capsys.readouterr()
        assert printed.out.count("\n") == 2
        assert printed.err == "beanstalkt: 2 of 9 jobs were reserved and printed\n"
        for job_id in ids:
            assert (await client.stats_job(job_id))["state"] == "delayed"


async def test_an_interrupt_at_any_point_leaves_no_printed_job_unsettled(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(server) as client:
        for turns in range(40):
            (job_id,) = await client.put_many([b"x"])
            running = asyncio.create_task(run(server, "-n", "2", "delete"))
            for _ in range(turns * 2):
                await asyncio.sleep(0)
            if turns % 4 == 3:
                await until_waiting(client, 1)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await soon(running)
            printed = ids_of(capsys)
            await nothing_reserved(client)
            left = (await client.stats())["current-jobs-ready"]
            assert (printed, left) in (([job_id], 0), ([], 1))
            if left:
                await client.delete(job_id)


async def test_a_lost_connection_is_told_for_each_job_that_was_printed(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 2)
        running = asyncio.create_task(run(server, "-n", "3", "release"))
        await until_waiting(client, 1)
    server.kill()
    with pytest.raises(errors.ConnectionLost):
        await asyncio.wait_for(running, TIMEOUT)
    said = capsys.readouterr().err
    assert "job 1 was printed, and not released: " in said
    assert "job 2 was printed, and not released: " in said
    assert "2 of 3 jobs" in said


async def test_a_connection_that_is_lost_at_a_delete_ends_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def lose(line: Line) -> None:
        await line.expect(b"reserve")
        line.send(b"RESERVED 7 1\r\nx\r\n")
        await line.expect(b"delete 7")

    async with Peer(lose) as peer:
        assert await soon(run(peer, "-n", "3", "delete")) == 69
    printed = capsys.readouterr()
    assert json.loads(printed.out)["id"] == 7
    assert "job 7 was printed, and perhaps not deleted: " in printed.err
    assert "1 of 3 jobs" in printed.err


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_a_number_of_jobs_is_1_or_more(value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["reserve", "-n", value])


async def test_a_waiting_reserve_ends_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_CHECK_INTERVAL", 0.01)
    waiting: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
    client = Mock(
        reserve=lambda timeout: waiting,
        connect=AsyncMock(side_effect=[None, None, errors.ConnectionLost("lost")]),
    )
    with pytest.raises(errors.ConnectionLost, match="lost"):
        await wait_for_job(client, None)
    assert client.connect.await_count == 3
    assert waiting.cancelled()
