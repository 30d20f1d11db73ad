"""The verbs about jobs: their arguments, and what each asks of the client."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt import errors
from beanstalkt.cli import jobs as module
from beanstalkt.cli.jobs import each, put
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
    ("words", "expected"),
    [
        (["peek", "7"], ((7,), {})),
        (["peek-ready", "-u", "t"], ((), {"tube": "t"})),
        (["peek-delayed", "-u", "t"], ((), {"tube": "t"})),
        (["peek-buried", "-u", "t"], ((), {"tube": "t"})),
    ],
)
async def test_each_peek_asks_for_its_job(
    words: list[str], expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name = words[0].replace("-", "_")
    client = Mock(**{name: AsyncMock(return_value=Job(7, b"x"))})
    await getattr(module, name)(client, parse([*words, "--json-lines"]))
    assert getattr(client, name).await_args == expected
    assert capsys.readouterr().out == '{"body": "x", "id": 7}\n'


async def test_kick_prints_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    client = Mock(kick=AsyncMock(return_value=3))
    await module.kick(client, parse(["kick", "-b", "9", "-u", "t"]))
    client.kick.assert_awaited_once_with(9, tube="t")
    assert capsys.readouterr().out == "3\n"
