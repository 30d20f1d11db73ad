"""What the events of a runner are in the database."""

from __future__ import annotations

from typing import Any

import pytest

from beanstalkt.sql.history_rows import MAX_INTEGER, rows_of
from beanstalkt.sql.statements import EVENT
from beanstalkt.worker.events import JobFinished, JobStarted
from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, Action, SettleResult, Verb
from beanstalkt.worker.policy.outcome import Kind

SERVER = "beanstalk://one:11300"


def started(outbox_id: int | None = 12, attempt: int = 1) -> JobStarted:
    return JobStarted(SERVER, "mail", 7, attempt, 1, outbox_id=outbox_id, server_run="run")


def finished(
    outcome: Kind = Kind.SUCCESS,
    action: Action | None = DELETE,
    settled: SettleResult = SettleResult.DONE,
    **changes: Any,
) -> JobFinished:
    values: dict[str, Any] = {
        "attempt": 1,
        "seconds": 0.25,
        "error": "",
        "details": {},
        "outbox_id": 12,
        "server_run": "run",
        "attempts_left": 4,
        **changes,
    }
    return JobFinished(
        SERVER, "mail", 7, outcome=outcome, action=action, settled=settled, **values
    )


def written(*events: JobStarted | JobFinished) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the history and the change of row 12; a second passes after each event."""
    rows = rows_of(
        [(number, float(number), event) for number, event in enumerate(events)],
        "run1",
        float(len(events)),
    )
    log = [dict(zip(EVENT, row, strict=True)) for row in rows.log]
    return log, rows.changes.get(12, {})


def test_a_request_that_succeeded_is_written_with_its_response() -> None:
    details = {"status": 200, "answer": "done\nin two lines", "url": "http://x/"}
    log, change = written(started(), finished(details=details))
    assert log[0] == {
        "event_id": "run1-000000000000",
        "event": "started",
        "job_id": 12,
        "server": SERVER,
        "server_run": "run",
        "job": 7,
        "tube": "mail",
        "attempt": 1,
        "http_status": None,
        "duration_ms": None,
        "msg": None,
        "age": 2.0,
    }
    assert log[1] == {
        **log[0],
        "event_id": "run1-000000000001",
        "event": "finished",
        "age": 1.0,
        "http_status": 200,
        "duration_ms": 250,
        "msg": "done\nin two lines",
    }
    assert change == {
        "id": 12,
        "started": 2.0,
        "finished": 1.0,
        "state": "done",
        "result_code": 0,
        "http_status": 200,
        "response": "done\nin two lines",
        "error": None,
        "retries": 4,
        "delay": None,
    }


LATER = Action(Verb.RELEASE, 60)


@pytest.mark.parametrize(
    ("event", "name", "state", "code"),
    [
        (finished(), "finished", "done", 0),
        (finished(settled=SettleResult.PRESUMED), "finished", "done", 0),
        (finished(settled=SettleResult.REFUSED), "finished", "done", 0),
        (finished(Kind.TEMPORARY_FAIL, LATER), "released", "sent", 2),
        (finished(Kind.TIMEOUT, LATER), "released", "sent", 2),
        (finished(Kind.RETRY, LATER), "released", "sent", 2),
        (finished(Kind.TIMEOUT, LATER, SettleResult.BURIED), "buried", "failed", 2),
        (finished(Kind.PERMANENT_FAIL, BURY), "buried", "failed", 1),
        (finished(Kind.UNKNOWN_FAIL, BURY), "buried", "failed", 1),
        (finished(Kind.REJECT, BURY), "buried", "failed", 1),
        (finished(Kind.PERMANENT_FAIL, DELETE), "failed", "failed", 1),
        (finished(Kind.PERMANENT_FAIL, BURY, SettleResult.REFUSED), "failed", "failed", 1),
    ],
)
def test_each_end_has_its_event_state_and_code(
    event: JobFinished, name: str, state: str, code: int | None
) -> None:
    (row,), change = written(event)
    assert (row["event"], change["state"], change["result_code"]) == (name, state, code)
    assert change["delay"] == (60 if name == "released" else None)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (finished(Kind.LOST, None, SettleResult.LOST), "failed"),
        (finished(Kind.STOPPED, RELEASE), "released"),
        (finished(Kind.NOT_STARTED, LATER), "released"),
    ],
)
def test_an_attempt_that_does_not_count_changes_nothing_in_the_row(
    event: JobFinished, name: str
) -> None:
    (row,), change = written(event)
    assert (row["event"], change) == (name, {"id": 12})


def test_a_job_without_attempts_left_keeps_what_its_last_one_has_left() -> None:
    (row,), change = written(finished(Kind.EXHAUSTED, BURY, error="5 attempts have been made"))
    assert (row["event"], row["msg"]) == ("buried", "5 attempts have been made")
    assert change == {"id": 12, "state": "failed"}


def test_of_two_attempts_the_last_one_counts() -> None:
    failed = finished(Kind.TEMPORARY_FAIL, LATER, error="status 503", details={"status": 503})
    log, change = written(started(), failed, started(attempt=2), finished(attempt=2))
    assert [row["event"] for row in log] == ["started", "released", "started", "finished"]
    assert (change["state"], change["result_code"], change["http_status"]) == ("done", 0, None)
    assert (change["started"], change["finished"], change["error"]) == (2.0, 1.0, None)


def test_a_job_from_elsewhere_is_logged_without_a_row() -> None:
    log, change = written(started(None), finished(outbox_id=None))
    assert [row.get("job_id") for row in log] == [None, None]
    assert change == {}


def test_no_text_can_break_the_statement() -> None:
    hostile = finished(
        Kind.PERMANENT_FAIL,
        BURY,
        error="\0\ud800'\"; --" * 1000,
        details={"status": "x", "answer": 7},
    )
    (row,), change = written(hostile)
    assert (row["http_status"], change["response"]) == (None, None)
    assert "\0" not in row["msg"]
    assert len(row["msg"]) <= 2000
    row["msg"].encode()


@pytest.mark.parametrize("status", [True, 2**31, -(2**40), 404.0, None])
def test_a_status_that_no_column_takes_is_left_out(status: Any) -> None:
    (row,), change = written(finished(Kind.UNKNOWN_FAIL, BURY, details={"status": status}))
    assert (row["http_status"], change["http_status"]) == (None, None)


def test_numbers_that_no_column_takes_are_the_largest_that_it_does() -> None:
    later = Action(Verb.RELEASE, 2**32 - 1)
    _, change = written(finished(Kind.RETRY, later, attempts_left=2**40))
    assert (change["delay"], change["retries"]) == (MAX_INTEGER, MAX_INTEGER)
