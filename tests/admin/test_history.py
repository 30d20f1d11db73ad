"""The ring of history: the numbers of the last snapshots."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin import History, Snapshot
from beanstalkt.admin.rates import Progression
from beanstalkt.errors import InvalidArgument
from tests.support.readings import reading_of, stats_of, tube_of


def snapshot_of(clock: float, **ready: int) -> Snapshot:
    tubes = {name: tube_of(current_jobs_ready=count) for name, count in ready.items()}
    stats = stats_of(current_jobs_ready=sum(ready.values()))
    return Progression("beanstalk://x").up(reading_of(clock, tubes, stats))


def readys(history: History, name: str) -> list[float | None]:
    return [None if math.isnan(point.ready) else point.ready for point in history.tube(name)]


def test_the_last_snapshots_are_kept_the_oldest_first() -> None:
    history = History(3)
    for clock in range(5):
        history.add(snapshot_of(clock, t=clock * 10))
    assert len(history) == 3
    assert [(point.time, point.ready) for point in history.server()] == [
        (1e9 + 2, 20),
        (1e9 + 3, 30),
        (1e9 + 4, 40),
    ]
    assert readys(history, "t") == [20, 30, 40]
    assert readys(history, "unknown") == [None] * 3


def test_what_was_not_known_is_nan() -> None:
    history = History(9)
    history.add(snapshot_of(0, a=1))
    history.add(Progression("beanstalk://x").down("gone", 1e9 + 1, 1, 0))
    history.add(snapshot_of(2, a=1, b=7))
    assert readys(history, "a") == [1, None, 1]
    assert readys(history, "b") == [None, None, 7]
    assert [math.isnan(point.ready) for point in history.server()] == [False, True, False]
    assert all(math.isnan(point.into) for point in history.server())


def test_a_tube_that_is_long_gone_is_forgotten() -> None:
    history = History(5)
    history.add(snapshot_of(0, a=1))
    for clock in range(1, 5):
        history.add(snapshot_of(clock))
        assert history.tubes() == ["a"]
    history.add(snapshot_of(5))
    history.add(snapshot_of(6))
    assert history.tubes() == []


@given(
    st.integers(0, 40),
    st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=300),
)
def test_it_keeps_what_a_list_would_keep(length: int, counts: list[int | None]) -> None:
    history = History(length)
    for clock, count in enumerate(counts):
        history.add(snapshot_of(clock) if count is None else snapshot_of(clock, t=count))
    assert readys(history, "t") == (counts[-length:] if length else [])


def test_a_tube_without_changes_takes_next_to_no_memory() -> None:
    history = History(300)
    for clock in range(1000):
        history.add(snapshot_of(clock, still=1, busy=clock))
    still, busy = history._tubes["still"], history._tubes["busy"]
    assert sys.getsizeof(still._rows) < 300
    assert sys.getsizeof(busy._rows) < 20_000


@pytest.mark.parametrize("length", [-1, 1.5, True, "9"])
def test_what_is_no_length_is_refused(length: object) -> None:
    with pytest.raises(InvalidArgument):
        History(length)  # type: ignore[arg-type]
