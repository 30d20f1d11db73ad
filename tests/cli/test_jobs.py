"""The verbs about jobs: their arguments, and what each asks of the client."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt import errors
from beanstalkt.cli import jobs as module
from beanstalkt.cli.jobs import each, put, reserve, settle, wait_for_job
from beanstalkt.cli.parser import parse
from beanstalkt.job import Job


def test_put_takes_its_old_letters() -> None:
    options = parse(["put", "a body", "-p", "1", "-u", "t", "-d", "2", "-t", "3"])
    assert (options.body, options.priority, options.use, options.delay, options.ttr) == (
        "a body",
        1,
        "t",
        2,
        3,
    )


def test_put_has_the_protocols_defaults() -> None:
    options = parse(["put", "a body"])
    assert (options.priority, options.use, options.delay, options.ttr) == (
        2**31,
        "default",
        0,
        120,
    )


@pytest.mark.parametrize("body", ["", "-5", "- one", "Grüße"])
def test_put_takes_odd_bodies(body: str) -> None:
    assert parse(["put", body]).body == body


def test_put_takes_a_body_that_begins_with_a_dash_after_two() -> None:
    assert parse(["put", "--", "--lines"]).body == "--lines"


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


def test_kick_and_peek_take_their_old_letters() -> None:
    options = parse(["kick", "-b", "9", "-u", "t"])
    assert (options.bound, options.use) == (9, "t")
    assert parse(["kick"]).bound == 1
    for verb in ("peek-ready", "peek-delayed", "peek-buried"):
        assert parse([verb, "-u", "t"]).use == "t"


def test_delete_and_kick_job_take_many_ids() -> None:
    assert parse(["delete", "1", str(2**64 - 1)]).ids == [1, 2**64 - 1]
    assert parse(["kick-job", "1", "2"]).ids == [1, 2]


def test_put_opens_the_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(b"a\n")
    with parse(["put", "--lines", str(file)]).input as opened:
        assert opened.read() == b"a\n"


@pytest.mark.parametrize("words", [["put", "-"], ["put", "--lines", "-"]])
def test_put_takes_standard_input(words: list[str]) -> None:
    with parse(words).input as opened:
        assert opened.fileno() == 0


# --- what is asked of the client ------------------------------------------------------------


async def test_put_passes_on_its_options_and_prints_the_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Mock(put=AsyncMock(return_value=7))
    options = parse(["put", "Gr\udcfc\udcdfe", "-p", "1", "-u", "t", "-d", "2", "-t", "3"])
    assert await put(client, options) == 0
    client.put.assert_awaited_once_with(b"Gr\xfc\xdfe", priority=1, delay=2, ttr=3, tube="t")
    assert capsys.readouterr().out == "7\n"


def held(**methods: Any) -> Mock:
    """A reserved job that notes what is asked of it."""
    verbs = {name: AsyncMock() for name in ("delete", "release", "bury")}
    return Mock(spec=Job, id=1, body=b"x", **{**verbs, **methods})


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


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("peek", {"id": 7}),
        ("peek-ready", {"use": "t"}),
        ("peek-delayed", {"use": "t"}),
        ("peek-buried", {"use": "t"}),
    ],
)
async def test_each_peek_asks_for_its_job(
    verb: str, options: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    name = verb.replace("-", "_")
    client = Mock(**{name: AsyncMock(return_value=Job(7, b"x"))})
    await getattr(module, name)(client, Namespace(**options))
    expected = ((7,), {}) if verb == "peek" else ((), {"tube": "t"})
    assert getattr(client, name).await_args == expected
    assert '"id": 7' in capsys.readouterr().out


async def test_kick_prints_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    client = Mock(kick=AsyncMock(return_value=3))
    await module.kick(client, parse(["kick", "-b", "9", "-u", "t"]))
    client.kick.assert_awaited_once_with(9, tube="t")
    assert capsys.readouterr().out == "3\n"
