"""What becomes of a job: every row, every override."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, Action, Policy, Verb, decide
from beanstalkt.worker.policy.outcome import SUCCESS, Kind, Outcome
from beanstalkt.worker.policy.retry import Backoff

AFTER_60 = Action(Verb.RELEASE, 60)
AT_ONCE = Action(Verb.RELEASE, 0)

DEFAULTS = {
    Kind.SUCCESS: DELETE,
    Kind.PERMANENT_FAIL: BURY,
    Kind.TEMPORARY_FAIL: BURY,
    Kind.UNKNOWN_FAIL: BURY,
    Kind.RETRY: AFTER_60,
    Kind.REJECT: BURY,
    Kind.NOT_STARTED: AFTER_60,
    Kind.TIMEOUT: AFTER_60,
    Kind.EXHAUSTED: BURY,
    Kind.STOPPED: AT_ONCE,
    Kind.LOST: None,
}

OVERRIDES = {
    Kind.TIMEOUT: "on_timeout",
    Kind.TEMPORARY_FAIL: "on_temporary_fail",
    Kind.PERMANENT_FAIL: "on_permanent_fail",
    Kind.UNKNOWN_FAIL: "on_unknown_fail",
}

CHOICES = [
    (DELETE, DELETE),
    (BURY, BURY),
    (RELEASE, AFTER_60),
    (Action(Verb.RELEASE, 300), Action(Verb.RELEASE, 300)),
    (AT_ONCE, AT_ONCE),
]


def test_every_kind_has_a_row() -> None:
    assert set(DEFAULTS) == set(Kind)


@pytest.mark.parametrize(("kind", "action"), DEFAULTS.items())
def test_defaults(kind: Kind, action: Action | None) -> None:
    assert decide(Outcome(kind), Policy(), 1, 0.5) == action


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("option", "concerned"), [(v, k) for k, v in OVERRIDES.items()])
@pytest.mark.parametrize(("chosen", "done"), CHOICES)
def test_an_override_concerns_its_own_kind_alone(
    kind: Kind, option: str, concerned: Kind, chosen: Action, done: Action
) -> None:
    changes: dict[str, Any] = {option: chosen}
    policy = Policy(**changes)
    expected = done if kind is concerned else DEFAULTS[kind]
    assert decide(Outcome(kind), policy, 1, 0.5) == expected


@pytest.mark.parametrize(("chosen", "done"), CHOICES)
@pytest.mark.parametrize(
    ("outcome", "overridden"),
    [
        (Outcome(Kind.UNKNOWN_FAIL, exit_code=75), True),
        (Outcome(Kind.UNKNOWN_FAIL, exit_code=76), False),
        (Outcome(Kind.UNKNOWN_FAIL, exit_code=-75), False),
        (Outcome(Kind.UNKNOWN_FAIL), False),
        (Outcome(Kind.PERMANENT_FAIL, exit_code=1), True),
        (Outcome(Kind.TEMPORARY_FAIL, exit_code=2), True),
        # It was stopped, whatever its status was then.
        (Outcome(Kind.TIMEOUT, exit_code=75), False),
        (Outcome(Kind.STOPPED, exit_code=75), False),
        (Outcome(Kind.LOST, exit_code=75), False),
        (Outcome(Kind.SUCCESS, exit_code=1), False),
    ],
)
def test_single_exit_statuses(
    outcome: Outcome, overridden: bool, chosen: Action, done: Action
) -> None:
    policy = Policy(on_exit=((1, chosen), (2, chosen), (75, chosen)))
    expected = done if overridden else DEFAULTS[outcome.kind]
    assert decide(outcome, policy, 1, 0.5) == expected


@pytest.mark.parametrize(
    ("outcome", "delay"),
    [
        (Outcome(Kind.RETRY, delay=0), 0),
        (Outcome(Kind.RETRY, delay=1.2), 2),
        (Outcome(Kind.RETRY, delay=7200), 7200),
        (Outcome(Kind.RETRY, delay=2**40), 2**32 - 1),
        (Outcome(Kind.TEMPORARY_FAIL, delay=30), 30),
        (Outcome(Kind.TEMPORARY_FAIL, delay=7200), 3600),
        (Outcome(Kind.TEMPORARY_FAIL, delay=-5), 0),
        (Outcome(Kind.TEMPORARY_FAIL), 60),
    ],
)
def test_a_delay_that_the_handler_asks_for(outcome: Outcome, delay: int) -> None:
    policy = Policy(on_temporary_fail=RELEASE)
    assert decide(outcome, policy, 1, 0.5) == Action(Verb.RELEASE, delay)


def test_a_delay_in_the_configuration_is_taken_as_it_is() -> None:
    policy = Policy(on_temporary_fail=Action(Verb.RELEASE, 9000), backoff=Backoff(max_delay=10))
    outcome = Outcome(Kind.TEMPORARY_FAIL, delay=5)
    assert decide(outcome, policy, 1, 0.5) == Action(Verb.RELEASE, 9000)


@pytest.mark.parametrize(
    ("outcome", "delay"),
    [
        (Outcome(Kind.TEMPORARY_FAIL), 7200),
        (Outcome(Kind.TEMPORARY_FAIL, exit_code=75), 7200),
        (Outcome(Kind.TIMEOUT), 7200),
        (Outcome(Kind.RETRY), 7200),
        (Outcome(Kind.TEMPORARY_FAIL, delay=30), 300),
        (Outcome(Kind.RETRY, delay=30), 30),
        (Outcome(Kind.STOPPED), 0),
        (Outcome(Kind.NOT_STARTED), 60),
    ],
)
def test_a_delay_of_the_job_itself_counts_more_than_the_policy(
    outcome: Outcome, delay: int
) -> None:
    policy = Policy(
        on_temporary_fail=Action(Verb.RELEASE, 300), on_exit=((75, RELEASE),), on_timeout=RELEASE
    )
    assert decide(outcome, policy, 5, 0.5, 7200) == Action(Verb.RELEASE, delay)
    assert decide(Outcome(Kind.PERMANENT_FAIL), policy, 1, 0.5, 7200) == BURY
    assert decide(Outcome(Kind.SUCCESS), policy, 1, 0.5, 7200) == DELETE


def test_a_release_grows_with_the_attempts() -> None:
    policy = Policy(backoff=Backoff(10, exponential=True))
    delays = [decide(Outcome(Kind.TIMEOUT), policy, attempt, 0.0) for attempt in (1, 2, 3)]
    assert delays == [Action(Verb.RELEASE, 10), Action(Verb.RELEASE, 20), Action(Verb.RELEASE, 40)]


@given(
    st.sampled_from(Kind),
    st.none() | st.integers(-64, 255),
    st.none() | st.floats(0, 1e12),
    st.integers(),
    st.floats(0, 1),
)
def test_a_job_that_did_not_succeed_is_never_deleted_by_default(
    kind: Kind, exit_code: int | None, delay: float | None, attempt: int, jitter: float
) -> None:
    action = decide(Outcome(kind, exit_code, delay), Policy(), attempt, jitter)
    assert (action == DELETE) == (kind is Kind.SUCCESS)
    if action is not None and action.verb is Verb.RELEASE:
        assert action.delay is not None
        assert 0 <= action.delay < 2**32


def test_actions_are_written_as_in_the_configuration() -> None:
    assert [str(a) for a in (DELETE, RELEASE, AFTER_60)] == ["delete", "release", "release:60"]
    assert SUCCESS.error == ""
