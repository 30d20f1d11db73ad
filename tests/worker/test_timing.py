"""How long the runner waits for what: what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import InvalidArgument
from beanstalkt.worker.timing import WorkerTiming

NAMES = [field.name for field in fields(WorkerTiming)]
WRONG = [-1, -0.001, float("nan"), float("inf"), 2**32]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_time_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=name):
        WorkerTiming(**{name: value})


@pytest.mark.parametrize("value", ["1", None, True, 1j])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=name):
        WorkerTiming(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_only_the_age_may_be_exact(name: str) -> None:
    if name == "age_tolerance":
        assert WorkerTiming(age_tolerance=0).age_tolerance == 0
    else:
        # Without a pause, what fails would be repeated without end.
        with pytest.raises(InvalidArgument, match=f"{name} must be above 0"):
            WorkerTiming(**{name: 0})


def test_a_job_is_parked_for_whole_seconds() -> None:
    with pytest.raises(InvalidArgument, match=r"parking_delay .* not 1\.5"):
        WorkerTiming(parking_delay=1.5)  # type: ignore[arg-type]


@given(st.sampled_from(NAMES), st.integers(1, 2**32 - 1))
def test_whole_seconds_are_always_right(name: str, value: int) -> None:
    assert getattr(WorkerTiming(**{name: value}), name) == value


def test_it_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        WorkerTiming().kill_timeout = 1  # type: ignore[misc]
