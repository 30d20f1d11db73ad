"""Durations: what a text stands for, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import InvalidArgument
from beanstalkt.protocol.durations import UNITS, parse_duration, parse_whole_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("007", 7),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("5s", 5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1w2d3h4m5s6ms", 604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5 + Fraction(6, 1000)),
        ("200ms", Fraction(1, 5)),
        ("1m1ms", 60 + Fraction(1, 1000)),
        ("90m", 5400),
        ("0.1s", Fraction(1, 10)),
    ],
)
def test_what_a_duration_stands_for(text: str, seconds: int | Fraction) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "-", "-1", "+1", "m", "5x", "5 m", "30m1h", "5m5m", "1h30", "1,5", "1_0", "٣"],
        *["٣m", "nan", "inf", "1e3", "5M", "5m\n", ".", ".m", "9" * 21, "9" * 5000, "1s" * 1000],
        "0x1",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a duration: write a number of seconds") as e:
        parse_duration(text)
    assert len(str(e.value)) < 200


@given(st.lists(st.integers(0, 10**6), min_size=len(UNITS), max_size=len(UNITS)))
def test_units_are_summed(numbers: list[int]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in zip(numbers, UNITS, strict=True))
    assert parse_duration(text) == sum(
        map(Fraction.__mul__, UNITS.values(), map(Fraction, numbers))
    )


@given(st.text())
def test_any_text_is_a_duration_of_no_less_than_nothing_or_is_refused(text: str) -> None:
    with suppress(InvalidArgument):
        assert parse_duration(text) >= 0


def test_whole_seconds_have_no_fraction() -> None:
    assert parse_whole_seconds("1.5m") == 90
    assert parse_whole_seconds("2000ms") == 2
    with pytest.raises(InvalidArgument, match=r"'1\.5' is not a whole number of seconds"):
        parse_whole_seconds("1.5")
