"""What a runner's events are in the database: rows of the history, and changes of rows. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..worker.events import JobEvent, JobFinished, JobStarted
from ..worker.policy.decision import SettleResult, Verb
from ..worker.policy.outcome import Kind
from .outbox import storable

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

_NOT_AN_END = frozenset({Kind.LOST, Kind.STOPPED, Kind.NOT_STARTED})
"""Outcomes that say nothing of the job: it will be run as if this attempt had not been."""


@dataclass(slots=True)
class Rows:
    """What is written for some events.

    :ivar log: rows of the history
    :ivar changes: what changes in the rows of the outbox, by their ids
    """

    log: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)


def rows_of(events: Iterable[tuple[int, float, JobEvent]], run: str, now: float) -> Rows:
    """Return what is written for events.

    :param events: a number for each that never comes again in this run, the time on the monotonic
        clock at which it happened, and the event
    :param run: names this run of the runner, and begins the ids of its events
    :param now: the time on the monotonic clock
    """
    rows = Rows()
    for number, when, event in events:
        age = round(max(now - when, 0.0), 3)
        made: dict[str, Any] = {
            "event_id": f"{run}-{number:012x}",  # of one length, so that they are in order
            "job_id": event.outbox_id if isinstance(event, (JobStarted, JobFinished)) else None,
            "server": event.server[:255],
            "job": event.id,
            "tube": event.tube,
            "age": age,
        }
        if isinstance(event, JobFinished):
            _add_finished(made, event)
        elif isinstance(event, JobStarted):
            made |= {
                "event": "started",
                "attempt": event.attempt,
                "server_run": event.server_run or None,
            }
        rows.log.append(made)
        if made["job_id"] is not None:
            change = rows.changes.setdefault(made["job_id"], {"id": made["job_id"]})
            if isinstance(event, JobFinished):
                change |= _change(event, made, age)
            else:
                change["started"] = age
    return rows


def _add_finished(made: dict[str, Any], event: JobFinished) -> None:
    answer = _answer(event)
    text = "\n".join(part for part in (event.error, answer) if part)
    made |= {
        "event": _name(event),
        "attempt": event.attempt,
        "server_run": event.server_run or None,
        "http_status": _status(event),
        "duration_ms": round(event.seconds * 1000),
        "msg": storable(text) or None,
    }


def _name(event: JobFinished) -> str:
    """Return what became of the job, as the history calls it."""
    if event.settled is SettleResult.BURIED:
        return "buried"
    if event.action is None or event.settled in (SettleResult.LOST, SettleResult.REFUSED):
        return "finished" if event.outcome is Kind.SUCCESS else "failed"
    if event.action.verb is Verb.DELETE:
        return "finished" if event.outcome is Kind.SUCCESS else "failed"
    return "released" if event.action.verb is Verb.RELEASE else "buried"


def _change(event: JobFinished, made: dict[str, Any], age: float) -> dict[str, Any]:
    """Return what changes in the row of a job; nothing if the attempt does not count."""
    if event.outcome in _NOT_AN_END:
        return {}
    if event.outcome is Kind.EXHAUSTED:  # what the last attempt has left stays
        return {"state": "failed"}
    name = made["event"]
    delay = None
    if name == "released" and event.action is not None:
        delay = event.action.delay
    return {
        "finished": age,
        "state": {"finished": "done", "released": "sent"}.get(name, "failed"),
        "result_code": _CODES.get(event.outcome),
        "http_status": made["http_status"],
        "response": storable(_answer(event)) or None,
        "error": storable(event.error) or None,
        "retries": event.attempts_left,
        "delay": delay,
    }


def _answer(event: JobFinished) -> str:
    """Return the first two lines of the response to an HTTP request."""
    answer = event.details.get("answer")
    return answer if isinstance(answer, str) else ""


def _status(event: JobFinished) -> int | None:
    status = event.details.get("status")
    return status if isinstance(status, int) else None
