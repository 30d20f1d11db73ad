"""The outcome of a task that has ended."""

from __future__ import annotations

from dataclasses import replace

from ....dispatch.safetask import TaskTimeout
from ....dispatch.table import brief
from ...policy.exceptions import outcome_of
from ...policy.outcome import SUCCESS, Kind, Outcome


def outcome_of_task(failure: BaseException | None) -> Outcome:
    """Return the outcome of a task that failed with this exception; None: it succeeded."""
    if failure is None:
        return SUCCESS
    outcome = outcome_of(failure)
    if isinstance(failure, TaskTimeout):
        return replace(outcome, kind=Kind.TIMEOUT)
    if outcome.kind is Kind.RETRY and failure.__cause__ is not None:
        return replace(outcome, error=brief(failure.__cause__))
    return outcome
