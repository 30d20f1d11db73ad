"""Delays and budgets, for every combination that can occur."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.policy.retry import Backoff, Budget, budget, retry_delay


@pytest.mark.parametrize(
    ("backoff", "attempt", "jitter", "delay"),
    [
        (Backoff(), 1, 0.0, 60),
        (Backoff(), 9, 1.0, 60),
        (Backoff(delay=0), 5, 1.0, 0),
        (Backoff(delay=7200), 1, 0.0, 3600),
        (Backoff(delay=7200, max_delay=10_000), 1, 0.0, 7200),
        (Backoff(exponential=True), 1, 0.0, 60),
        (Backoff(exponential=True), 2, 0.0, 120),
        (Backoff(exponential=True), 3, 0.0, 240),
        (Backoff(exponential=True), 1, 1.0, 75),
        (Backoff(exponential=True), 2, 0.5, 135),
        (Backoff(exponential=True), 7, 1.0, 3600),
        (Backoff(exponential=True), 10**9, 1.0, 3600),
        (Backoff(exponential=True), 0, 0.0, 60),
        (Backoff(delay=1, exponential=True), 1, 0.1, 2),
        (Backoff(delay=0, exponential=True), 50, 1.0, 0),
        (Backoff(delay=60, exponential=True, max_delay=2**33), 50, 1.0, 2**32 - 1),
    ],
)
def test_delay(backoff: Backoff, attempt: int, jitter: float, delay: int) -> None:
    assert retry_delay(backoff, attempt, jitter) == delay


@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(),
    st.floats(0, 1),
)
def test_a_delay_is_always_one_that_the_server_takes(
    delay: int, exponential: bool, most: int, attempt: int, jitter: float
) -> None:
    found = retry_delay(Backoff(delay, exponential, most), attempt, jitter)
    assert isinstance(found, int)
    assert 0 <= found <= most


@pytest.mark.parametrize(
    ("reserves", "buries", "kicks", "most", "expected"),
    [
        # without a kick
        (1, 0, 0, 3, Budget(1, False)),
        (3, 0, 0, 3, Budget(3, False)),
        (4, 0, 0, 3, Budget(4, True)),
        (1, 0, 0, 1, Budget(1, False)),
        (2, 0, 0, 1, Budget(2, True)),
        # no limit
        (1000, 5, 5, 0, Budget(1000, False)),
        # kicked after the budget was used up: 3 runs, one reserve that only buried
        (5, 1, 1, 3, Budget(1, False)),
        (7, 1, 1, 3, Budget(3, False)),
        (8, 1, 1, 3, Budget(4, True)),
        # and once more
        (9, 2, 2, 3, Budget(1, False)),
        (11, 2, 2, 3, Budget(3, False)),
        (12, 2, 2, 3, Budget(4, True)),
        # buried at the first attempt, and kicked: no less than a whole budget
        (2, 1, 1, 3, Budget(1, False)),
        (4, 1, 1, 3, Budget(1, False)),
        # kicked while it was delayed: nothing is granted
        (4, 0, 1, 3, Budget(4, True)),
        (4, 0, 9, 3, Budget(4, True)),
        # buried once, kicked many times
        (8, 1, 9, 3, Budget(4, True)),
        # buried, and taken with reserve-job: no kick, no grant
        (4, 2, 0, 3, Budget(4, True)),
        # a server that was restarted with a binlog has forgotten all
        (0, 0, 0, 3, Budget(1, False)),
    ],
)
def test_budget(reserves: int, buries: int, kicks: int, most: int, expected: Budget) -> None:
    counters = {"reserves": reserves, "buries": buries, "kicks": kicks}
    assert budget(counters, most) == expected


def test_missing_counters_are_zero() -> None:
    assert budget({}, 3) == Budget(1, False)
    assert budget({"reserves": "many"}, 3) == Budget(1, False)


@dataclass
class Job:
    """The counters as the server keeps them."""

    reserves: int = 0
    buries: int = 0
    kicks: int = 0
    buried: bool = False

    def counters(self) -> dict[str, object]:
        return {"reserves": self.reserves, "buries": self.buries, "kicks": self.kicks}


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["run", "bury", "kick delayed", "kick buried", "reserve-job"])),
)
def test_a_kick_of_a_buried_job_grants_at_least_a_whole_budget(
    most: int, steps: list[str]
) -> None:
    job = Job()
    left = most  # attempts that it must still be given
    for step in steps:
        if step == "kick buried" and job.buried:
            job.kicks += 1
            job.buried = False
            left = most
        elif step == "reserve-job" and job.buried:
            job.reserves += 1  # by an administrator, who releases it again
            job.buried = False
        elif step == "kick delayed" and not job.buried:
            job.kicks += 1
        elif step in ("run", "bury") and not job.buried:
            job.reserves += 1
            exhausted = budget(job.counters(), most).exhausted
            if left > 0 and not _looked_at(steps):
                assert not exhausted
            left -= 1
            if exhausted or step == "bury":
                job.buries += 1
                job.buried = True


def _looked_at(steps: list[str]) -> bool:
    return "reserve-job" in steps


@given(st.integers(1, 5), st.integers(0, 5))
def test_a_job_that_nobody_can_do_is_run_a_bounded_number_of_times(most: int, kicks: int) -> None:
    job = Job()
    runs = 0
    while True:
        job.reserves += 1
        if not budget(job.counters(), most).exhausted:
            runs += 1
            continue
        job.buries += 1
        if job.kicks == kicks:
            break
        job.kicks += 1
    assert runs == most * (kicks + 1)
