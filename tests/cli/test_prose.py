"""The texts of the help: what is filled, and what is kept as it is."""

from __future__ import annotations

import pytest

from beanstalkt.cli.prose import HelpFormatter, blocks

TEXT = """\
The first sentence, which goes
on. Another one.

Notes:
  one    kept as it is

  two
Last: a-word-with-hyphens.
"""


def test_a_text_is_cut_into_prose_and_other_lines() -> None:
    assert list(blocks(TEXT)) == [
        (True, ["The first sentence, which goes", "on. Another one.", ""]),
        (True, ["Notes:"]),
        (False, ["  one    kept as it is", ""]),
        (False, ["  two"]),
        (True, ["Last: a-word-with-hyphens."]),
    ]
    assert list(blocks("")) == []


@pytest.mark.parametrize(
    ("width", "first"),
    [
        (1000, ["The first sentence, which goes on. Another one."]),
        (20, ["The first sentence,", "which goes on.", "Another one."]),
    ],
)
def test_prose_is_filled_and_nothing_else_is_touched(width: int, first: list[str]) -> None:
    lines = HelpFormatter("x")._fill_text(TEXT, width, "").splitlines()
    last = ["Last:", "a-word-with-hyphens."] if width == 20 else ["Last: a-word-with-hyphens."]
    assert lines == [*first, "", "Notes:", "  one    kept as it is", "", "  two", *last]
    long = HelpFormatter("x")._fill_text("word " * 99, 1000, "").splitlines()
    assert max(map(len, long)) <= 98
