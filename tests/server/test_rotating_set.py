from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.rotating_set import Bag


def test_the_last_takes_the_place_of_one_that_is_removed() -> None:
    bag: Bag[str] = Bag()
    for name in ("default", "zz", "aa", "mm"):
        bag.add(name)
    bag.remove("zz")
    assert list(bag) == ["default", "mm", "aa"]


def test_what_is_not_in_is_not_removed_and_what_is_in_is_not_added() -> None:
    bag: Bag[str] = Bag()
    bag.add("a")
    bag.add("a")
    bag.remove("b")
    assert list(bag) == ["a"]
    assert "a" in bag
    assert "b" not in bag


def test_nothing_can_be_taken_out_of_an_empty_one() -> None:
    with pytest.raises(IndexError):
        Bag[str]().take()


@given(st.lists(st.integers(0, 8)))
def test_all_that_is_in_is_taken_once(items: list[int]) -> None:
    bag: Bag[int] = Bag()
    for item in items:
        bag.add(item)
    assert sorted(bag.take() for _ in range(len(bag))) == sorted(set(items))
    assert not len(bag)


def test_three_that_wait_are_taken_in_their_order() -> None:
    bag: Bag[str] = Bag()
    for name in "abc":
        bag.add(name)
    assert [bag.take() for _ in range(3)] == ["a", "b", "c"]
