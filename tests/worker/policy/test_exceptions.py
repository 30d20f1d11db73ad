"""Retry and Reject: pickles of them, and what exceptions whose methods fail become."""

from __future__ import annotations

import copy
import pickle

import pytest

import beanstalkt
from beanstalkt import Reject, Retry, worker
from beanstalkt.worker.handlers import coroutine
from beanstalkt.worker.policy.exceptions import MAX_ERROR_LENGTH, crash, outcome_of
from beanstalkt.worker.policy.outcome import Kind


def test_they_are_one_and_the_same_everywhere() -> None:
    assert beanstalkt.Retry is worker.Retry is coroutine.Retry is Retry
    assert beanstalkt.Reject is worker.Reject is coroutine.Reject is Reject


@pytest.mark.parametrize("delay", [None, 0, 1.5])
def test_a_pickled_retry_can_be_read_again(delay: float | None) -> None:
    for again in (pickle.loads(pickle.dumps(Retry(delay))), copy.copy(Retry(delay))):
        assert type(again) is Retry
        assert again.delay == delay


def test_a_pickled_reject_can_be_read_again() -> None:
    again = pickle.loads(pickle.dumps(Reject("no such customer")))
    assert type(again) is Reject
    assert again.reason == "no such customer"


def test_what_was_pickled_at_their_former_place_can_be_read() -> None:
    again = pickle.loads(b"cbeanstalkt.worker.handlers.coroutine\nRetry\n(I3\ntR.")
    assert type(again) is Retry
    assert again.delay == 3.0


def test_a_delay_that_was_assigned_is_checked() -> None:
    failure = Retry(3)
    failure.delay = -1.0
    outcome = outcome_of(failure)
    assert (outcome.kind, outcome.delay) == (Kind.UNKNOWN_FAIL, None)
    assert "a delay must be" in outcome.error


def test_the_log_gets_the_end_of_a_long_backtrace() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert crash(Silent()).error.endswith("Silent")
    outcome = crash(ValueError("x" * 10_000))
    assert len(outcome.error) == MAX_ERROR_LENGTH
    assert len(str(outcome.details["backtrace"])) == 2 * MAX_ERROR_LENGTH
