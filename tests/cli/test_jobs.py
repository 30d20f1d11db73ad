"""The verbs about jobs: their arguments, and what each asks of the client."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt.cli import jobs as module
from beanstalkt.cli.jobs import put
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


def test_peek_takes_its_old_letter() -> None:
    for verb in ("peek-ready", "peek-delayed", "peek-buried"):
        assert parse([verb, "-u", "t"]).use == "t"


def test_put_opens_the_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(b"a\n")
    with parse(["put", "--lines", str(file)]).input as opened:
        assert opened.read() == b"a\n"


def test_a_file_without_a_name_is_not_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["put", "--lines", ""])
    assert "cannot read '': No such file or directory" in capsys.readouterr().err


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
