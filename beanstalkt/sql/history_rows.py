"""What a runner's events are in the database: rows of the history, and changes of rows. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..worker.events import JobFinished, JobStarted
from ..worker.policy.decision import SettleResult, Verb
from ..worker.policy.outcome import Kind
from .dialect import Row
from .outbox import storable
from .statements import CHANGE

SUCCESS, PERMANENT, TEMPORARY = 0, 1, 2
"""The values of result_code, which are those of strings-queue."""

_CODES = {
    Kind.SUCCESS: SUCCESS,
    Kind.PERMANENT_FAIL: PERMANENT,
    Kind.UNKNOWN_FAIL: PERMANENT,
    Kind.REJECT: PERMANENT,
    Kind.TEMPORARY_FAIL: TEMPORARY,
    Kind.TIMEOUT: TEMPORARY,
    Kind.RETRY: TEMPORARY,
}

MAX_INTEGER = 2**31 - 1
"""The largest number that a column of type integer takes."""

_NOT_AN_END = frozenset({Kind.LOST, Kind.STOPPED, Kind.NOT_STARTED})
"""Outcomes that say nothing of the job: it will be run as if this attempt had not been."""


@dataclass(slots=True)
class Rows:
    """What is written for some events.

    :ivar log: rows of the history, with the columns of `EVENT`
    :ivar changes: what changes in the rows of the outbox, by their ids
    """

    log: list[Row] = field(default_factory=list)
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def changed(self) -> list[Row]:
        """Return the changes as rows with the columns of `CHANGE`."""
        return [[change.get(name) for name in CHANGE] for change in self.changes.values()]


def rows_of(
    events: Iterable[tuple[int, float, JobStarted | JobFinished]], run: str, now: float
) -> Rows:
    """Return what is written for events.

    :param events: a number for each that never comes again in this run, the time on the monotonic
        clock at which it happened, and the event
    :param run: names this run of the runner, and begins the ids of its events
    :param now: the time on the monotonic clock
    """
    rows = Rows()
    for number, when, event in events:
        age = round(max(now - when, 0.0), 3)
        name = _name(event) if isinstance(event, JobFinished) else "started"
        rows.log.append(
            (
                f"{run}-{number:012x}",  # the number has one length, so that rows are in order
                event.outbox_id,
                event.server[:255],
                event.server_run or None,
                event.id,
                event.tube,
                name,
                event.attempt,
                *(_end(event) if isinstance(event, JobFinished) else _NO_END),
                age,
            )
        )
        if event.outbox_id is not None:
            change = rows.changes.setdefault(event.outbox_id, {"id": event.outbox_id})
            if isinstance(event, JobFinished):
                change |= _change(event, name, age)
            else:
                change["started"] = age
    return rows


_NO_END = (None, None, None)


def _end(event: JobFinished) -> tuple[int | None, int, str | None]:
    """Return the status, the duration and the message of a row of the history."""
    milliseconds = round(event.seconds * 1000)
    if event.error or event.details:
        return _status(event), milliseconds, _message(event)
    return None, milliseconds, None


def _message(event: JobFinished) -> str | None:
    text = "\n".join(part for part in (event.error, _answer(event)) if part)
    return storable(text) or None


def _name(event: JobFinished) -> str:
    """Return what became of the job, as the history calls it."""
    if event.settled is SettleResult.BURIED:
        return "buried"
    if (
        event.action is None
        or event.settled in (SettleResult.LOST, SettleResult.REFUSED)
        or event.action.verb is Verb.DELETE
    ):
        return "finished" if event.outcome is Kind.SUCCESS else "failed"
    return "released" if event.action.verb is Verb.RELEASE else "buried"


def _change(event: JobFinished, name: str, age: float) -> dict[str, Any]:
    """Return what changes in the row of a job; nothing if the attempt does not count."""
    if event.outcome in _NOT_AN_END:
        return {}
    if event.outcome is Kind.EXHAUSTED:  # what the last attempt has left stays
        return {"state": "failed"}
    delay = None
    if name == "released" and event.action is not None:
        delay = event.action.delay
    left = event.attempts_left
    return {
        "finished": age,
        "state": {"finished": "done", "released": "sent"}.get(name, "failed"),
        "result_code": _CODES.get(event.outcome),
        "http_status": _status(event),
        "response": storable(_answer(event)) or None,
        "error": storable(event.error) or None,
        "retries": None if left is None else min(left, MAX_INTEGER),
        "delay": None if delay is None else min(delay, MAX_INTEGER),
    }


def _answer(event: JobFinished) -> str:
    """Return the first two lines of the response to an HTTP request."""
    answer = event.details.get("answer")
    return answer if isinstance(answer, str) else ""


def _status(event: JobFinished) -> int | None:
    status = event.details.get("status")
    # A handler from outside may report anything, and what does not fit is refused with its batch.
    return status if type(status) is int and abs(status) <= MAX_INTEGER else None
