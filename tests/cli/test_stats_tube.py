"""stats-tube: one tube as JSON, all tubes as a table, once or repeatedly."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from beanstalkt import errors
from beanstalkt.cli import stats_tube as module
from beanstalkt.cli.parser import parse
from beanstalkt.cli.stats_tube import stats_tube
from tests.support.beanstalkd import Beanstalkd
from tests.support.clients import HasAddress, client_of
from tests.support.embedded import AnyServer
from tests.support.leftovers import nothing_left
from tests.support.waiting import soon, until


async def run(server: HasAddress, *words: str) -> None:
    options = parse(["--timeout", "0.5", "stats-tube", *words])
    client = client_of(server, response_timeout=options.response_timeout)
    async with client:
        await stats_tube(client, options)


async def fill(server: HasAddress) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 3, tube="mail")
        await client.put("x", tube="news")
        await client.pause_tube("news", 500)


async def test_one_tube_is_json(server: AnyServer, capsys: pytest.CaptureFixture[str]) -> None:
    await fill(server)
    await run(server, "mail")
    assert json.loads(capsys.readouterr().out)["current-jobs-ready"] == 3
    await run(server, "mail", "--json-lines")
    assert capsys.readouterr().out.count("\n") == 1
    with pytest.raises(errors.NotFound):
        await run(server, "nowhere")


async def test_all_tubes_are_a_table(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    await run(server)
    head, *rows = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "TUBE READY RESV DELAY BURY WORK WAIT TOTAL NOTES"
    assert [row.split()[:2] for row in rows] == [["default", "0"], ["mail", "3"], ["news", "1"]]
    assert rows[1].endswith("no workers")
    assert "paused 8." in rows[2]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--sort", "ready"], ["mail", "news", "default"]),
        (["--sort", "ready", "--reverse", "--limit", "2"], ["default", "news"]),
        (["--filter", "m*", "--filter", "def*"], ["default", "mail"]),
        (["--filter", "nothing"], []),
    ],
)
async def test_tubes_are_sorted_filtered_and_limited(
    server: AnyServer, words: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    await run(server, *words, "--json-lines")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == names


async def test_the_age_of_the_next_job_is_shown_when_asked_for(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    await run(server, "--age", "--sort", "age", "--json-lines")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["name"]: "head-age" in line for line in lines} == {
        "mail": True,
        "news": True,
        "default": False,
    }


async def watch(server: HasAddress, *words: str) -> asyncio.Task[None]:
    return asyncio.create_task(run(server, "--watch=0.05", *words))


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def test_a_watched_table_has_rates_and_comes_again(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    shown = ""

    def found(what: str) -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return what in shown

    async with nothing_left():
        watching = await watch(server)
        await until(lambda: found("IN/S OUT/S"))
        await until(lambda: found(", in 0/s out 0/s, 4 ready"))
        async with client_of(server) as client:
            await client.put("x", tube="fresh")
            await until(lambda: found("\nfresh "))
        await end(watching)


async def test_watched_lines_of_json_have_a_time(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    watching = await watch(server, "--json-lines", "--filter", "mail")
    await asyncio.sleep(0)
    shown: list[str] = []

    def more() -> int:
        shown.extend(capsys.readouterr().out.splitlines())
        return len(shown) > 2

    await until(more)
    await end(watching)
    lines = [json.loads(line) for line in shown]
    assert {line["name"] for line in lines} == {"mail"}
    assert lines[0]["time"] < lines[2]["time"]
    assert lines[0]["rate-in"] is None
    assert lines[2]["rate-in"] == 0


async def test_one_tube_can_be_watched(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(server)
    watching = asyncio.create_task(run(server, "mail", "--watch", "0.05"))
    await until(lambda: "\nmail " in capsys.readouterr().out)
    await end(watching)


async def test_a_server_that_goes_and_comes_is_told(
    apart: Beanstalkd, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = await watch(apart)
    await until(lambda: "default" in capsys.readouterr().out)
    apart.kill()
    await until(lambda: f"{apart.url} is not available" in capsys.readouterr().err)
    apart.start()
    await until(lambda: "restarted" in capsys.readouterr().out)
    await end(watching)


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of the terminal that standard output is."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    with monkeypatch.context() as patch, open(theirs, "w") as stream:
        patch.setenv("TERM", "xterm")
        patch.setattr("sys.stdout", stream)
        yield ours
    os.close(ours)


def resize(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


async def test_on_a_terminal_the_table_stays_in_place(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fits the terminal, also when that is resized; the last line is left to the cursor."""
    async with client_of(server) as client:
        for number in range(30):
            await client.put("x", tube=f"tube-{number:02}-{'x' * 50}")
    shown = b""

    def screens(there: int) -> list[list[bytes]]:
        """The lines of the screens that have been shown completely."""
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(there, 2**20)
        plain = shown.replace(b"\x1b[K", b"").replace(b"\x1b[2J", b"").replace(b"\x1b[J", b"")
        return [each.split(b"\r\n") for each in plain.split(b"\x1b[H")[1:-1]]

    with terminal(monkeypatch) as there:
        for columns, lines, left_out in ((80, 24, b"and 11 more"), (40, 10, b"and 25 more")):
            resize(there, columns, lines)
            shown = b""
            watching = await watch(server)
            await until(lambda: len(screens(there)) > 2)
            await end(watching)
            # Each line clears what a longer one may have left there.
            assert shown.count(b"\r\n") == shown.count(b"\x1b[K\r\n") + shown.count(b"\x1b[J\r\n")
            for screen in screens(there):
                assert screen[-2:] == [left_out, b""]
                assert len(screen) == lines
                assert max(map(len, screen)) <= columns


async def test_a_terminal_that_is_resized_is_filled_again(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        for number in range(30):
            await client.put("x", tube=f"tube-{number:02}")
    with terminal(monkeypatch) as there:

        def shows(what: bytes) -> bool:
            with suppress(BlockingIOError):
                return what in os.read(there, 2**20)
            return False

        resize(there, 80, 24)
        watching = await watch(server)
        await until(lambda: shows(b"and 11 more"))
        resize(there, 80, 30)
        await until(lambda: shows(b"and 5 more"))
        await end(watching)


async def test_a_terminal_of_a_size_that_is_not_known(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as there:
        await run(server)
        assert os.read(there, 2**16).startswith(b"TUBE ")


@pytest.mark.parametrize(
    "words",
    [
        ["t", "--filter", "x"],
        ["t", "--sort", "ready"],
        ["t", "--age"],
        ["--sort", "notes"],
        ["--limit", "0"],
        ["--watch=0"],
        ["--watch", "mail"],
        ["a b"],
    ],
)
def test_what_makes_no_sense_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["stats-tube", *words])


def test_watch_has_an_interval_of_its_own() -> None:
    assert parse(["stats-tube", "--watch"]).watch == module.WATCH_INTERVAL
    assert parse(["stats-tube", "mail", "--watch"]).tube == "mail"
    assert parse(["stats-tube", "--watch=5"]).watch == 5
