"""The table of tubes: what is written, in which order, and how it fits a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin import Badge, Head, Rates, Snapshot, TubeSample
from beanstalkt.admin.rates import Progression
from beanstalkt.cli.tube_table import (
    COLUMNS,
    LEFT_OUT,
    SORTABLE,
    as_dict,
    columns_of,
    duration,
    headline,
    rate,
    sorted_tubes,
    table,
    text,
    whole,
)
from tests.support.readings import reading_of, stats_of, tube_of


def sample(name: str = "t", rates: Rates | None = None, **counters: Any) -> TubeSample:
    badges = counters.pop("badges", ())
    age = counters.pop("age", None)
    head = None if age is None else Head(1, age, 0)
    return TubeSample(name, tube_of(**counters), 2, 0, rates, head, badges)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (12_345_678, "12M"),
        (2**32, "4.3G"),
        (2**64, ">999T"),
    ],
)
def test_whole_numbers(value: float | None, shown: str) -> None:
    assert whole(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.001, "<0.01"),
        (0.25, "0.25"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (123_456.0, "123k"),
    ],
)
def test_rates(value: float | None, shown: str) -> None:
    assert rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0s"),
        (99, "99s"),
        (100, "1.7m"),
        (720, "12m"),
        (3600 * 3.4, "3.4h"),
        (86_400 * 12, "12d"),
        (1e9, ">99d"),
    ],
)
def test_durations(value: float | None, shown: str) -> None:
    assert duration(value) == shown


@given(st.one_of(st.floats(0, 1e25), st.integers(0, 2**64)))
def test_a_number_takes_six_characters_at_most(value: float) -> None:
    assert max(map(len, (whole(value), rate(value), duration(value)))) <= 6


@given(st.text())
def test_text_cannot_control_a_terminal(value: str) -> None:
    assert text(value).isascii()
    assert text(value).isprintable()


def test_numbers_are_sorted_from_the_largest_and_names_from_a() -> None:
    tubes = [sample("b", current_jobs_ready=2), sample("a"), sample("c", current_jobs_ready=9)]

    def names(key: str, **options: bool) -> str:
        return "".join(tube.name for tube in sorted_tubes(tubes, key, **options))

    assert names("name") == "abc"
    assert names("name", backwards=True) == "cba"
    assert names("ready") == "cba"
    assert names("ready", backwards=True) == "abc"
    assert names("delayed") == names("delayed", backwards=True) == "abc"


@pytest.mark.parametrize("backwards", [False, True])
def test_what_is_not_known_comes_last(backwards: bool) -> None:
    tubes = [sample("a"), sample("b", Rates(1, 0)), sample("c", age=5)]
    for key, first in (("in", "b"), ("age", "c")):
        assert sorted_tubes(tubes, key, backwards=backwards)[0].name == first


@pytest.mark.parametrize("key", SORTABLE)
def test_every_column_sorts(key: str) -> None:
    tubes = [sample("a"), sample("b", Rates(1, 3), current_jobs_ready=1, age=5)]
    assert {tube.name for tube in sorted_tubes(tubes, key)} == {"a", "b"}


def test_a_table_without_a_limit_has_everything_in_full() -> None:
    tubes = [
        sample("mail", Rates(2, 3), current_jobs_ready=123_456, age=61, put=3),
        sample("a" * 200, badges=(Badge.NO_WORKERS,)),
    ]
    lines = table(tubes, COLUMNS)
    assert lines[0].split() == [column.title for column in COLUMNS]
    row = "mail 123456 0 0 0 2 0 3 2.00 3.00 34h 61s"
    assert lines[1].split() == row.split()
    assert lines[2].startswith("a" * 200)
    assert lines[2].endswith("no workers")


def test_a_narrow_terminal_does_without_some_columns() -> None:
    tubes = [sample("video-transcoding-of-files", badges=(Badge.NO_WORKERS, Badge.PAUSED))]
    heads = [
        " ".join(table(tubes, columns_of(tubes), width)[0].split()) for width in (120, 80, 60)
    ]
    assert heads == [
        "TUBE READY RESV DELAY BURY WORK WAIT TOTAL IN/S OUT/S DRAIN AGE NOTES",
        "TUBE READY RESV DELAY BURY WORK IN/S OUT/S DRAIN AGE NOTES",
        "TUBE READY BURY WORK IN/S OUT/S AGE NOTES",
    ]
    assert "no workers" in table(tubes, COLUMNS, 60)[1]


@given(
    st.lists(st.tuples(st.text(max_size=30), st.integers(0, 2**40), st.booleans()), max_size=5),
    st.integers(1, 200),
)
def test_a_line_is_never_longer_than_the_terminal(
    rows: list[tuple[str, int, bool]], width: int
) -> None:
    tubes = [
        sample(
            name,
            Rates(ready, ready) if known else None,
            current_jobs_ready=ready,
            badges=tuple(Badge) if known else (),
        )
        for name, ready, known in rows
    ]
    lines = table(tubes, COLUMNS, width)
    assert len(lines) == len(rows) + 1
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)
    if width >= 60:
        assert all("READY" in line for line in lines[:1])


def test_what_a_narrow_terminal_does_without_are_columns() -> None:
    assert set(LEFT_OUT) < set(SORTABLE)


# --- the server as a whole, and JSON --------------------------------------------------------


def snapshot_of(**counters: Any) -> Snapshot:
    return Progression("beanstalk://x").up(
        reading_of(0, {"t": tube_of()}, stats_of(**counters), tube_count=3)
    )


def test_the_headline_tells_of_the_server() -> None:
    line = headline(snapshot_of(current_jobs_ready=5, current_jobs_buried=2, draining=True))
    assert line == "beanstalk://x: draining, 1 of 3 tubes, 5 ready, 2 buried, 1 workers"


def test_the_headline_tells_that_there_is_no_server() -> None:
    down = Progression("beanstalk://x").down("no \x1b[31mroute", 0, 0, 0)
    assert headline(down) == "beanstalk://x is not available: no ?[31mroute"


def test_json_has_the_statistics_and_what_was_made_of_them() -> None:
    tube = sample("t", Rates(1, 3), current_jobs_ready=9, age=7, badges=(Badge.PAUSED,))
    found = json.loads(json.dumps(as_dict(tube, watched=True)))
    assert found["current-jobs-ready"] == 9
    assert (found["rate-in"], found["rate-out"], found["drain-seconds"]) == (1, 3, 4.5)
    assert (found["badges"], found["head-age"], found["head-id"]) == (["paused"], 7, 1)
    assert "rate-in" not in as_dict(tube, watched=False)
    assert as_dict(sample("t"), watched=True)["rate-in"] is None
