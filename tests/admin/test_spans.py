"""Sets of whole numbers that are mostly consecutive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin.spans import Spans

NUMBERS = st.sets(st.integers(1, 60))


@given(st.lists(st.tuples(st.booleans(), NUMBERS), max_size=6))
def test_it_is_the_set_that_python_would_make(steps: list[tuple[bool, set[int]]]) -> None:
    spans, model = Spans(), set[int]()
    for adds, numbers in steps:
        if adds:
            spans.update(Spans(sorted(numbers)))
            model |= numbers
        else:
            spans.remove(Spans(sorted(numbers)))
            model -= numbers
        assert list(spans) == sorted(model)
    assert len(spans) == len(model)
    assert bool(spans) == bool(model)
    assert spans.last == max(model, default=0)
    assert all((number in spans) == (number in model) for number in range(62))
    runs = list(spans.runs())
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(runs))
    assert list(Spans.parse(spans.text())) == sorted(model)


def test_a_million_consecutive_numbers_are_one_run() -> None:
    spans = Spans()
    for first in range(1, 1_000_001, 500):
        spans.update(Spans.parse(f"{first}-{first + 499}"))
    assert list(spans.runs()) == [(1, 1_000_000)]


@pytest.mark.parametrize("text", ["x", "1-", "-2", "1,2"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Spans.parse(text)
