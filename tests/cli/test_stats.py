"""The verbs about tubes and statistics: their arguments, and what each asks of the client."""

from __future__ import annotations

import json
from unittest.mock import AsyncMock, Mock

import pytest

from beanstalkt.cli import stats as module
from beanstalkt.cli.parser import parse


def test_pause_takes_its_old_letters() -> None:
    options = parse(["pause", "t", "-d", "9"])
    assert (options.tube, options.delay) == ("t", 9)
    assert parse(["pause", "t"]).delay == 0


@pytest.mark.parametrize(
    ("name", "words", "arguments"),
    [
        ("stats", ["stats"], ()),
        ("stats_job", ["stats-job", "7"], (7,)),
        ("list_tubes", ["list"], ()),
    ],
)
async def test_what_the_server_says_is_printed_as_json(
    name: str,
    words: list[str],
    arguments: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = {"name": "007", "pause": 0}
    client = Mock(**{name: AsyncMock(return_value=result)})
    await getattr(module, name)(client, parse(words))
    getattr(client, name).assert_awaited_once_with(*arguments)
    assert json.loads(capsys.readouterr().out) == result


async def test_pause_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    client = Mock(pause_tube=AsyncMock())
    await module.pause(client, parse(["pause", "t", "-d", "9"]))
    client.pause_tube.assert_awaited_once_with("t", 9)
    assert capsys.readouterr().out == ""
