"""Values in the configuration: what is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.config import values
from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, Action, Verb

READERS: list[Callable[[str], Any]] = [
    values.boolean,
    values.whole(0),
    values.seconds,
    values.whole_seconds,
    values.duration,
    values.one_of({"fixed": 1}),
    values.action,
    values.exit_code,
    values.exit_action,
    values.exit_actions,
    values.tube_name,
    values.tube_and_workers,
    values.workers,
]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.boolean, "Yes", True),
        (values.boolean, "0", False),
        (values.whole(0), "0", 0),
        (values.whole(0), "4294967295", 2**32 - 1),
        (values.whole(1, 5), "5", 5),
        (values.seconds, "0", 0.0),
        (values.seconds, "1.5", 1.5),
        (values.seconds, "1h30m", 5400.0),
        (values.seconds, "200ms", 0.2),
        (values.whole_seconds, "300", 300),
        (values.whole_seconds, "5m", 300),
        (values.duration, "5m", 300.0),
        (values.duration, "0.1", 0.1),
        (values.action, "bury", BURY),
        (values.action, "delete", DELETE),
        (values.action, "release", RELEASE),
        (values.action, "release:5m", Action(Verb.RELEASE, 300)),
        (values.action, "release:0", Action(Verb.RELEASE, 0)),
        (values.exit_action, "75=release:300", (75, Action(Verb.RELEASE, 300))),
        (values.exit_actions, "3=bury 4=delete", ((3, BURY), (4, DELETE))),
        (values.exit_actions, "", ()),
        (values.tube_name, "a/b;c.$_()+-", "a/b;c.$_()+-"),
        (values.tube_and_workers, "mail", ("mail", None)),
        (values.tube_and_workers, "mail:3", ("mail", 3)),
    ],
)
def test_taken(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.boolean, ""),
        (values.boolean, "maybe"),
        (values.whole(0), ""),
        (values.whole(0), "-1"),
        (values.whole(0), "1.5"),
        (values.whole(0), "1_000"),
        (values.whole(0), "٣"),
        (values.whole(0), "4294967296"),
        (values.whole(0, 10), "0" * 20 + "99"),
        (values.whole(0), "9" * 5000),
        (values.seconds, "-1"),
        (values.seconds, "nan"),
        (values.seconds, "inf"),
        (values.seconds, "1x"),
        (values.seconds, "9999w"),
        (values.whole_seconds, "1.5"),
        (values.whole_seconds, "-1"),
        (values.whole_seconds, "9999w"),
        (values.duration, "0"),
        (values.duration, "0m"),
        (values.action, ""),
        (values.action, "Bury"),
        (values.action, "release:"),
        (values.action, "release:-1"),
        (values.action, "bury:5"),
        (values.action, "touch"),
        (values.exit_code, "0"),
        (values.exit_code, "256"),
        (values.exit_action, "75"),
        (values.exit_action, "75=what"),
        (values.tube_name, ""),
        (values.tube_name, "-mail"),
        (values.tube_name, "a b"),
        (values.tube_name, "x" * 201),
        (values.tube_name, "*"),
        (values.tube_and_workers, "mail:"),
        (values.tube_and_workers, "mail:0"),
        (values.tube_and_workers, "mail:x"),
        (values.tube_and_workers, "mail:10001"),
    ],
)
def test_refused(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|bad tube name"):
        read(text)


@given(st.sampled_from(READERS), st.text())
def test_any_text_gives_a_value_or_an_error_of_one_line(
    read: Callable[[str], Any], text: str
) -> None:
    try:
        read(text)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
