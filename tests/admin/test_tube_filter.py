"""Which tubes of a server are looked at."""

from __future__ import annotations

from typing import Any

import pytest

from beanstalkt.admin import TubeFilter
from beanstalkt.errors import InvalidArgument

NAMES = ["default", "mail", "mail.out", "news", "a(b)$"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, NAMES),
        ({"include": "mail*"}, ["mail", "mail.out"]),
        ({"include": ["mail", "news"]}, ["mail", "news"]),
        ({"include": ["*"], "exclude": ["mail*", "default"]}, ["news", "a(b)$"]),
        ({"include": ["*", "x"]}, NAMES),
        ({"include": "a(b)$"}, ["a(b)$"]),
        ({"include": ()}, []),
        ({"include": "MAIL"}, []),
        ({"limit": 0}, []),
    ],
)
def test_patterns_choose_tubes(options: dict[str, Any], chosen: list[str]) -> None:
    tubes = TubeFilter(**options)
    found, left_out = tubes.choose(NAMES)
    assert found == chosen
    assert left_out == (len(NAMES) if tubes.limit == 0 else 0)


def test_a_limit_keeps_the_tubes_that_were_looked_at_before() -> None:
    tubes = TubeFilter(exclude=("news",), limit=2)
    assert tubes.choose(NAMES) == (["default", "mail"], 2)
    assert tubes.choose(reversed(NAMES), {"default", "mail"}) == (["mail", "default"], 2)
    assert tubes.choose(NAMES, {"default", "gone"}) == (["default", "mail"], 2)


@pytest.mark.parametrize(
    "options",
    [{"limit": -1}, {"limit": True}, {"limit": "3"}, {"include": 5}, {"exclude": [b"x"]}],
)
def test_what_is_no_filter_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        TubeFilter(**options)
