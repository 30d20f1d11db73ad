"""The verbs that change many jobs: what they ask, what they do, and what they tell."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt import admin, blocking, errors
from beanstalkt.cli import admin as module
from beanstalkt.cli import changing
from beanstalkt.cli.admin import each
from beanstalkt.cli.parser import parse
from beanstalkt.cli.program import main

from ..support.embedded import AnyServer
from ..support.waiting import block_until


@pytest.fixture
def client(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[blocking.Client]:
    """A server with jobs in two tubes, which the program finds by itself."""
    monkeypatch.setenv("BEANSTALKD_URL", server.url)
    with blocking.Client(server.host, server.port) as client:
        for tube in ("a", "b"):
            for body in ("one", "two", "three"):
                client.put(body, 7, tube=tube)
            client.put("late", delay=1000, tube=tube)
            client.reserve_job(client.put("bad", tube=tube)).bury()
        yield client


def counts(client: blocking.Client, tube: str) -> tuple[int, int, int]:
    try:
        stats: Any = client.stats_tube(tube)
    except errors.NotFound:
        return 0, 0, 0
    ready, delayed, buried = (
        stats[f"current-jobs-{state}"] for state in ("ready", "delayed", "buried")
    )
    return ready, delayed, buried


Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *words: str) -> tuple[int, str, list[str]]:
    """The exit status, what was printed to standard output, and the lines of standard error."""
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, [line.removeprefix("beanstalkt: ") for line in err.splitlines()]


# --- clear, delete and kick -------------------------------------------------------------------


def test_clear_deletes_the_jobs_of_the_tubes_alone(
    client: blocking.Client, capsys: Capture
) -> None:
    status, out, told = run(capsys, "clear", "a", "--yes")
    assert (status, out) == (0, "5\n")
    assert told[0].startswith("deleted 5 jobs (")
    assert counts(client, "a") == (0, 0, 0)
    assert counts(client, "b") == (3, 1, 1)
    assert run(capsys, "clear", "-u", "b", "--state", "buried", "-y")[:2] == (0, "1\n")
    assert counts(client, "b") == (3, 1, 0)


def test_a_dry_run_tells_and_changes_nothing(client: blocking.Client, capsys: Capture) -> None:
    for words, count in (
        ("clear a -n", 5),
        ("clear a b --state ready -n", 6),
        ("delete --text t --dry-run", 6),
        ("kick -u a --all --dry-run", 1),
        ("kick -u a --state delayed --state buried --dry-run", 2),
    ):
        status, out, told = run(capsys, *words.split())
        assert (status, out) == (0, f"{count}\n")
        assert "nothing was changed" in told[0]
    assert counts(client, "a") == counts(client, "b") == (3, 1, 1)


def test_delete_takes_ids_or_a_selection(client: blocking.Client, capsys: Capture) -> None:
    assert run(capsys, "delete", "1", "2")[:2] == (0, "")
    assert counts(client, "a") == (1, 1, 1)
    assert run(capsys, "delete", "--text", "two", "-y")[:2] == (0, "1\n")
    assert run(capsys, "delete", "--priority", "7", "--limit", "2", "-y")[:2] == (0, "2\n")
    assert counts(client, "a") == (0, 1, 1)
    assert counts(client, "b") == (1, 1, 1)


def test_kick_takes_a_bound_or_all_or_a_selection(
    client: blocking.Client, capsys: Capture
) -> None:
    assert run(capsys, "kick", "-u", "a", "--all", "--yes")[:2] == (0, "1\n")
    assert counts(client, "a") == (4, 1, 0)
    assert run(capsys, "kick", "-u", "b", "--state", "delayed", "--yes")[:2] == (0, "1\n")
    assert counts(client, "b") == (4, 0, 1)
    assert run(capsys, "kick", "b")[:2] == (0, "1\n")
    assert counts(client, "b") == (5, 0, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("clear", "name the tubes"),
        ("clear a", "--yes"),
        ("clear a -y -n", "--dry-run changes nothing"),
        ("clear a --state reserved -y", "invalid choice"),
        ("delete", "give the ids of jobs, or options"),
        ("delete --limit 3 -y", "give the ids of jobs, or options"),
        ("delete --text x", "--yes"),
        ("delete 1 --text x", "either ids or options"),
        ("delete 1 -n", "either ids or options"),
        ("kick --all", "--yes"),
        ("kick a -u b", "two tubes are named, a and b"),
        ("kick --all -b 3 -y", "-b cannot be given too"),
        ("kick -n", "--dry-run goes with --all"),
        ("kick --state ready -y", "invalid choice"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    words: str, message: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_kick_delete_and_kick_job_take_their_old_arguments() -> None:
    options = parse(["kick", "-b", "9", "-u", "t"])
    assert (options.bound, options.use) == (9, "t")
    assert parse(["delete", "1", str(2**64 - 1)]).ids == [1, 2**64 - 1]
    assert parse(["kick-job", "1", "2"]).ids == [1, 2]


# --- the question -----------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Have every question answered so; returns the questions."""

    def answer_with(yes: bool) -> list[str]:
        asked: list[str] = []

        async def confirmed(question: str) -> bool:
            asked.append(question)
            return yes

        monkeypatch.setattr("beanstalkt.cli.confirm.can_ask", lambda: True)
        monkeypatch.setattr(changing, "confirmed", confirmed)
        return asked

    return answer_with


def test_on_a_terminal_the_number_is_told_and_asked_about(
    client: blocking.Client, capsys: Capture, answer: Callable[[bool], list[str]]
) -> None:
    asked = answer(False)
    assert main(["clear", "a"]) == 1
    assert counts(client, "a") == (3, 1, 1)
    answer(True)
    assert main(["clear", "a"]) == 0
    assert counts(client, "a") == (0, 0, 0)
    assert asked == ["Delete 5 jobs (3 ready, 1 delayed, 1 buried) of a?"]
    # There is nothing to ask about then.
    asked = answer(True)
    capsys.readouterr()
    assert run(capsys, "clear", "a")[:2] == (0, "0\n")
    assert asked == []


# --- interrupts and losses --------------------------------------------------------------------


def test_ctrl_c_ends_it_between_two_jobs(
    client: blocking.Client, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put_many([b"x"] * 5000, tube="a")
    ready = counts(client, "a")[0]
    original = admin.clear

    async def interrupted_clear(*arguments: Any, **options: Any) -> Any:
        summary = options["summary"]

        async def interrupt() -> None:
            while not summary.done:
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGINT)

        task = asyncio.ensure_future(interrupt())
        try:
            return await original(*arguments, **options)
        finally:
            await task

    monkeypatch.setattr(admin, "clear", interrupted_clear)
    status, out, told = run(capsys, "clear", "a", "--state", "ready", "--yes")
    assert status == 130
    assert told[0].startswith(f"interrupted: deleted {int(out):,} jobs")
    stats: Any = client.stats_tube("a")
    assert stats["current-jobs-ready"] == ready - int(out)
    assert stats["current-jobs-reserved"] == 0
    assert 0 < int(out) < ready


def test_a_lost_server_is_told_with_what_was_done(
    server: AnyServer, client: blocking.Client, capsys: Capture
) -> None:
    client.put_many([b"x"] * 30_000, tube="a")
    before = sum(counts(client, "a"))

    def stop() -> None:
        def some_are_deleted() -> bool:
            stats: Any = client.stats_tube("a")
            return bool(stats["cmd-delete"] > 1000)

        block_until(some_are_deleted)
        server.kill()

    stopping = threading.Thread(target=stop)
    stopping.start()
    status, out, told = run(capsys, "clear", "a", "--yes")
    stopping.join()
    assert status == 69
    assert 0 < int(out) < before
    assert told[0].startswith(f"deleted {int(out):,} jobs")
    assert any("connection was lost" in line for line in told)


def test_each_verb_has_an_example(capsys: Capture) -> None:
    for verb in ("clear", "delete", "kick", "list", "tail"):
        with pytest.raises(SystemExit):
            main([verb, "-h"])
        assert f"\n  beanstalkt {verb}" in capsys.readouterr().out


# --- one job after another --------------------------------------------------------------------


async def test_a_job_that_is_gone_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = []

    async def delete(job_id: int) -> None:
        if job_id == 2:
            raise errors.NotFound("delete: NOT_FOUND")
        done.append(job_id)

    assert await each(delete, [1, 2, 3]) == 1
    assert done == [1, 3]
    assert capsys.readouterr().err == "beanstalkt: job 2: delete: NOT_FOUND\n"
    assert await each(delete, [1, 3]) == 0


async def test_a_lost_connection_does_stop_the_others() -> None:
    delete = AsyncMock(side_effect=errors.ConnectionLost("lost"))
    with pytest.raises(errors.ConnectionLost):
        await each(delete, [1, 2])
    assert delete.await_count == 1


async def test_kick_prints_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    client = Mock(kick=AsyncMock(return_value=3))
    await module.kick(client, parse(["kick", "-b", "9", "-u", "t"]))
    client.kick.assert_awaited_once_with(9, tube="t")
    assert capsys.readouterr().out == "3\n"
