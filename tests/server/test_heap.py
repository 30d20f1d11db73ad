from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.heap import Heap

OPERATION = st.tuples(
    st.sampled_from(["push", "push", "discard", "pop"]), st.integers(0, 20), st.integers(0, 5)
)


@given(st.lists(OPERATION, max_size=400))
def test_it_does_what_a_sorted_list_would(operations: list[tuple[str, int, int]]) -> None:
    heap: Heap[str] = Heap()
    model: dict[int, int] = {}
    for what, number, key in operations:
        if what == "push":
            heap.push(key, number, str(number))
            model[number] = key
        elif what == "discard":
            heap.discard(number)
            model.pop(number, None)
        elif model:
            first = min(model, key=lambda number: (model[number], number))
            assert heap.first_key() == model.pop(first)
            assert heap.pop() == str(first)
        else:
            with pytest.raises(IndexError):
                heap.pop()
        assert len(heap) == len(model)
        first_of_model = min(model, key=lambda number: (model[number], number), default=None)
        assert heap.first() == (None if first_of_model is None else str(first_of_model))
        assert list(heap) == [str(number) for number in model]


def test_what_was_discarded_is_not_kept_for_long() -> None:
    heap: Heap[int] = Heap()
    for number in range(10_000):
        heap.push(number, number, number)
        heap.discard(number - 10)
    assert len(heap._entries) < 100


def test_one_that_is_moved_again_and_again_costs_no_memory() -> None:
    heap: Heap[int] = Heap()
    for key in range(10_000):
        heap.push(key, 1, 1)
    assert len(heap) == 1
    assert len(heap._entries) < 100
