"""Decide what becomes of a job, by its outcome, its attempt and the configuration."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from ...protocol.arguments import MAX_NUMBER
from .outcome import Kind, Outcome
from .retry import Backoff, retry_delay


class Verb(enum.Enum):
    """A command by which a job is settled."""

    DELETE = "delete"
    RELEASE = "release"
    BURY = "bury"


@dataclass(frozen=True)
class Action:
    """How to settle a job: a command, and for a release the delay.

    :ivar delay: seconds; None leaves it to the policy's
        :class:`~beanstalkt.worker.policy.retry.Backoff`
    """

    verb: Verb
    delay: int | None = None

    def __str__(self) -> str:
        return self.verb.value if self.delay is None else f"{self.verb.value}:{self.delay}"


DELETE = Action(Verb.DELETE)
RELEASE = Action(Verb.RELEASE)
BURY = Action(Verb.BURY)


class SettleResult(enum.Enum):
    """How an attempt to settle a job ended."""

    DONE = "done"
    #: the reply was lost with the connection, and the job is where the command would have put
    #: it; another worker may have reserved it in between, and have settled it in the same way
    PRESUMED = "presumed"
    #: the server was out of memory, and buried a job that it was to release
    BURIED = "buried by the server"
    #: the server refused; it keeps the job, and no worker can reach the job until it restarts
    REFUSED = "refused"
    #: another worker has the job, or the job no longer exists
    LOST = "lost"


@dataclass(frozen=True)
class Policy:
    """The actions that the configuration chooses for jobs that did not succeed."""

    on_timeout: Action = RELEASE
    on_temporary_fail: Action = BURY
    on_permanent_fail: Action = BURY
    on_unknown_fail: Action = BURY
    #: exit status and action, for single exit statuses
    on_exit: tuple[tuple[int, Action], ...] = ()
    #: 0 for no limit
    max_attempts: int = 10
    backoff: Backoff = field(default_factory=Backoff)


def decide(
    outcome: Outcome,
    policy: Policy,
    attempt: int,
    jitter: float,
    own_delay: int | None = None,
) -> Action | None:
    """Choose how to settle a job; return None for a job that was lost to another worker.

    An action that releases the job always has a delay.

    :param attempt: which attempt at the job has ended, from 1
    :param jitter: a random number from 0 to 1
    :param own_delay: seconds that the job itself names for being released after a failure; they
        count more than the policy, and less than a delay of the outcome
    """
    # A success is judged first: the configuration refuses `on_exit_0`, and so does this function.
    if outcome.kind is Kind.SUCCESS:
        return DELETE
    action = _choose(outcome, policy)
    if action is None or action.verb is not Verb.RELEASE:
        return action
    if own_delay is not None and outcome.delay is None and outcome.kind in _RETRIED:
        return Action(Verb.RELEASE, own_delay)
    if action.delay is not None:
        return action
    return Action(Verb.RELEASE, _delay(outcome, policy.backoff, attempt, jitter))


def _choose(outcome: Outcome, policy: Policy) -> Action | None:
    if outcome.exit_code is not None and outcome.kind in _FAILS:
        for exit_code, action in policy.on_exit:
            if exit_code == outcome.exit_code:
                return action
    return {
        Kind.PERMANENT_FAIL: policy.on_permanent_fail,
        Kind.TEMPORARY_FAIL: policy.on_temporary_fail,
        Kind.UNKNOWN_FAIL: policy.on_unknown_fail,
        Kind.TIMEOUT: policy.on_timeout,
        Kind.RETRY: RELEASE,
        Kind.REJECT: BURY,
        Kind.NOT_STARTED: RELEASE,
        Kind.EXHAUSTED: BURY,
        # The job itself has not failed: another worker may run it at once.
        Kind.STOPPED: Action(Verb.RELEASE, 0),
        Kind.LOST: None,
    }[outcome.kind]


_FAILS = frozenset({Kind.PERMANENT_FAIL, Kind.TEMPORARY_FAIL, Kind.UNKNOWN_FAIL})
_RETRIED = _FAILS | {Kind.TIMEOUT, Kind.RETRY}


def _delay(outcome: Outcome, backoff: Backoff, attempt: int, jitter: float) -> int:
    if outcome.delay is None:
        return retry_delay(backoff, attempt, jitter)
    # A delay from outside, such as that in a Retry-After, must not put a job off for a year.
    limit = MAX_NUMBER if outcome.kind is Kind.RETRY else backoff.max_delay
    return min(max(math.ceil(outcome.delay), 0), limit)
