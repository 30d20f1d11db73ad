"""The options that say which jobs a verb is about."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from beanstalkt.admin import Selection, select
from beanstalkt.cli import selection_options
from beanstalkt.cli.parser import Parser


def options_of(*words: str) -> Namespace:
    parser: ArgumentParser = Parser(prog="test")
    selection_options.add_to(parser)
    options = parser.parse_args(list(words))
    selection_options.check(parser, options)
    return options


def selected(*words: str) -> Selection:
    found: Selection = options_of(*words).selection
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("-u a --tube b", {"tubes": ["a", "b"]}),
        ("--state buried --state delayed", {"states": ["buried", "delayed"]}),
        ("--priority 10", {"min_priority": 10, "max_priority": 10}),
        ("--priority 10-99", {"min_priority": 10, "max_priority": 99}),
        ("--priority 10-", {"min_priority": 10}),
        ("--priority -99", {"max_priority": 99}),
        ("--older-than 1h --younger-than 2h", {"min_age": 3600.0, "max_age": 7200.0}),
        ("--text x", {"text": b"x"}),
        ("--watch-range 5-9", {"since_id": 5, "until_id": 9}),
        ("--since-id 5", {"since_id": 5}),
    ],
)
def test_each_option_narrows_the_selection(words: str, expected: dict[str, Any]) -> None:
    assert selected(*words.split()) == select(**expected)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("", False),
        ("-u a", False),
        ("--state buried", True),
        ("--priority 0", True),
        ("--older-than 0", True),
        ("--younger-than 0", True),
        ("--text x", True),
        ("--regex x", True),
        ("--watch-range 5-9", True),
        ("--since-id 5", True),
    ],
)
def test_it_is_known_whether_jobs_are_chosen_in_another_way_than_by_tube(
    words: str, given: bool
) -> None:
    assert selection_options.given(options_of(*words.split())) == given


def test_a_regular_expression_is_sought_in_bytes() -> None:
    pattern = selected("--regex", "M.+ller").pattern
    assert pattern is not None
    assert pattern.search("Müller".encode())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--state dead", "invalid choice"),
        ("--priority 9-3", "ends before it begins"),
        ("--priority x", "not a whole number"),
        ("--priority -", "write 10"),
        ("--priority 0-4294967296", "from 0 to 4294967295"),
        ("--older-than 2h --younger-than 1h", "above"),
        ("--regex (", "regular expression"),
        ("--since-id 5 --watch-range 5-9", "not allowed with"),
        ("--tube -x", "expected one argument"),
        ("--tube a,b", "bad tube name"),
    ],
)
def test_wrong_options_are_refused(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        selected(*words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_selection_is_described_in_words() -> None:
    assert selection_options.describe(select()) == "jobs of all tubes"
    assert (
        selection_options.describe(select(["b", "a"], ["ready", "buried"], text="x"))
        == "ready or buried jobs of a, b that match"
    )
