from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.rotating_set import RotatingSet


def test_the_last_takes_the_place_of_one_that_is_removed() -> None:
    items: RotatingSet[str] = RotatingSet()
    for name in ("default", "zz", "aa", "mm"):
        items.add(name)
    items.remove("zz")
    assert list(items) == ["default", "mm", "aa"]


def test_what_is_not_in_is_not_removed_and_what_is_in_is_not_added() -> None:
    items: RotatingSet[str] = RotatingSet()
    items.add("a")
    items.add("a")
    items.remove("b")
    assert list(items) == ["a"]
    assert "a" in items
    assert "b" not in items


def test_nothing_can_be_taken_out_of_an_empty_one() -> None:
    with pytest.raises(IndexError):
        RotatingSet[str]().take()


@given(st.lists(st.integers(0, 8)))
def test_all_that_is_in_is_taken_once(items: list[int]) -> None:
    waiting: RotatingSet[int] = RotatingSet()
    for item in items:
        waiting.add(item)
    assert sorted(waiting.take() for _ in range(len(waiting))) == sorted(set(items))
    assert not len(waiting)


def test_three_that_wait_are_taken_in_their_order() -> None:
    items: RotatingSet[str] = RotatingSet()
    for name in "abc":
        items.add(name)
    assert [items.take() for _ in range(3)] == ["a", "b", "c"]
