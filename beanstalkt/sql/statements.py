"""The statements of the relay, for each kind of database. No I/O.

Every time in them is the database's, so no clock of another machine matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import TextClause, bindparam, text

from .dialect import BIGINT, INTEGER, SECONDS, TEXT, Dialect

_TEXTS = ("url", "body", "headers", "payload")
"""The columns of a row that may be of any length."""

ID = {"id": BIGINT}
"""A row of which no more than its id is said."""

SETTLED = {"id": BIGINT, "job": BIGINT, "tube": TEXT}
"""What the relay says of each of the rows that became the same; `job` is the id in beanstalkd."""

EVENT = {
    "event_id": TEXT,
    "job_id": BIGINT,
    "server": TEXT,
    "server_run": TEXT,
    "job": BIGINT,
    "tube": TEXT,
    "event": TEXT,
    "attempt": INTEGER,
    "http_status": INTEGER,
    "duration_ms": BIGINT,
    "msg": TEXT,
    "age": SECONDS,
}
"""A row of the history, before it is inserted; `age` is in seconds."""

CHANGE = {
    "id": BIGINT,
    "started": SECONDS,
    "finished": SECONDS,
    "state": TEXT,
    "result_code": INTEGER,
    "http_status": INTEGER,
    "response": TEXT,
    "error": TEXT,
    "retries": INTEGER,
    "delay": INTEGER,
}
"""What a runner says of a row: seconds since the last start and end, and how it ended."""

_LOGGED = ("event_id", "job_id", "server", "server_run", "beanstalk_job_id", "tube", "event")


def with_lists(statement: str, values: Mapping[str, object]) -> TextClause:
    """Return a statement in which ``IN :name`` takes any number of values: those of a list.

    :param values: the parameters of the statement
    """
    lists = [name for name, value in values.items() if isinstance(value, list)]
    return text(statement).bindparams(*(bindparam(name, expanding=True) for name in lists))


@cache
def claim(dialect: Dialect) -> TextClause:
    """Return the statement that claims the oldest new rows, and returns them in any order."""
    # A common table expression: as a plain subquery it might be evaluated more than once.
    return text(
        f"WITH chosen AS (SELECT id FROM queued_job WHERE state = 'new' ORDER BY id LIMIT :limit"
        f"{dialect.lock}) UPDATE queued_job SET state = 'claimed', claimed_by = :name, "
        f"claimed_until = {dialect.later(':seconds')} WHERE id IN (SELECT id FROM chosen) "
        f"RETURNING {_columns(dialect)}"
    )


@cache
def select_new(dialect: Dialect) -> TextClause:
    """Return the statement that locks and returns the oldest new rows.

    With `claim_selected` after it, it is for databases without UPDATE … RETURNING.
    """
    return text(
        f"SELECT {_columns(dialect)} FROM queued_job WHERE state = 'new' ORDER BY id LIMIT :limit"
        f"{dialect.lock}"
    )


@cache
def claim_selected(dialect: Dialect) -> TextClause:
    """Return the statement that claims rows by their ids."""
    values = {
        "state": "'claimed'",
        "claimed_by": ":name",
        "claimed_until": dialect.later(":seconds"),
    }
    return text(dialect.update_from("queued_job", values, dialect.source(ID), "q.id = m.id"))


def _columns(dialect: Dialect) -> str:
    """Return the columns of a `QueuedJob`; too long ones are not even sent by the database."""
    size = " + ".join(f"COALESCE({dialect.bytes_of(column)}, 0)" for column in _TEXTS)
    texts = ", ".join(
        f"CASE WHEN {size} > :max_size THEN NULL ELSE {column} END" for column in _TEXTS
    )
    # Not the time itself: a driver may refuse to read one, such as PostgreSQL's 'infinity'.
    timed = "CASE WHEN not_before IS NULL THEN 0 ELSE 1 END AS timed"
    return (
        f"id, http_method, {texts}, timeout_secs, tube, priority, ttr_secs, {size} AS size, "
        f"{timed}, {dialect.seconds_until('not_before')} AS delay, "
        "remaining_retries, retry_delay_secs"
    )


@cache
def settle(dialect: Dialect, sent: bool) -> TextClause:
    """Return the statement that ends the claims of rows that are still claimed by a relay.

    A row whose job has already finished keeps the state that the history has given it.

    :param sent: whether their jobs were put
    """
    values = {
        "last_error": "CASE WHEN q.state = 'claimed' THEN :error ELSE q.last_error END",
        "state": "CASE WHEN q.state = 'claimed' THEN :state ELSE q.state END",
        "claimed_by": "NULL",
        "claimed_until": "NULL",
    }
    if sent:
        values |= {
            "server": ":server",
            "server_run": ":server_run",
            "beanstalk_job_id": "m.job",
            "sent_at": dialect.now,
            "sends": "q.sends + 1",
            "unique_key": "NULL",
        }
    source = dialect.source(SETTLED)
    where = "q.id = m.id AND q.claimed_by = :name"
    return text(dialect.update_from("queued_job", values, source, where))


@cache
def marked(dialect: Dialect) -> TextClause:
    """Return the statement that counts the rows which are marked as sent with the same jobs."""
    return text(
        f"SELECT count(*) FROM queued_job AS q JOIN {dialect.source(SETTLED)} ON q.id = m.id "
        "AND q.beanstalk_job_id = m.job WHERE q.server = :server"
    )


@cache
def log_settled(dialect: Dialect, again: bool) -> TextClause:
    """Return the statement that adds what the relay did to the history.

    :param again: whether that may have been done already
    """
    event_id = dialect.joined(dialect.text(":event"), "'-'", "m.id")
    select = (
        f"SELECT {event_id}, m.id, {dialect.text(':server')}, {dialect.text(':server_run')}, "
        f"m.job, m.tube, {dialect.text(':state')}, {dialect.text(':error')} "
        f"FROM {dialect.source(SETTLED)}"
    )
    return text(dialect.insert("queued_job_log", (*_LOGGED, "msg"), select, again))


@cache
def log_events(dialect: Dialect, again: bool) -> TextClause:
    """Return the statement that adds events of a runner to the history.

    :param again: whether that may have been done already
    """
    select = (
        "SELECT m.event_id, m.job_id, m.server, m.server_run, m.job, m.tube, m.event, m.attempt, "
        f"m.http_status, m.duration_ms, m.msg, {dialect.later('-m.age')} "
        f"FROM {dialect.source(EVENT)}"
    )
    columns = (*_LOGGED, "attempt", "http_status", "duration_ms", "msg", "created_at")
    return text(dialect.insert("queued_job_log", columns, select, again))


@cache
def change(dialect: Dialect) -> TextClause:
    """Return the statement that writes what a runner says into the rows of the jobs."""

    def finished(value: str, column: str) -> str:
        return f"CASE WHEN m.finished IS NULL THEN q.{column} ELSE {value} END"

    def time(value: str, column: str) -> str:
        return f"CASE WHEN {value} IS NULL THEN q.{column} ELSE {dialect.later('-' + value)} END"

    values = {
        "last_started_at": time("m.started", "last_started_at"),
        "last_finished_at": time("m.finished", "last_finished_at"),
        "result_code": "COALESCE(m.result_code, q.result_code)",
        "http_status": finished("m.http_status", "http_status"),
        "last_response": finished("m.response", "last_response"),
        "last_error": finished("m.error", "last_error"),
        "remaining_retries": "COALESCE(m.retries, q.remaining_retries)",
        "retry_delay_secs": "COALESCE(m.delay, q.retry_delay_secs)",
        "unique_key": finished("NULL", "unique_key"),
        # What is done stays done, also when the job runs once more.
        "state": "CASE WHEN m.state IS NULL OR q.state = 'done' "
        "OR (m.state = 'sent' AND q.state <> 'failed') THEN q.state ELSE m.state END",
    }
    return text(dialect.update_from("queued_job", values, dialect.source(CHANGE), "q.id = m.id"))


@cache
def take_back(dialect: Dialect, condition: str) -> TextClause:
    """Return the statement that ends claims, of which it is not known whether they were put.

    :param condition: which claims; an expression of SQL
    """
    return text(
        "UPDATE queued_job SET state = :state, last_error = :error, claimed_by = NULL, "
        f"claimed_until = NULL WHERE state = 'claimed' AND {condition}"
    )


def take_back_own(dialect: Dialect) -> TextClause:
    """Return the statement that ends the claims of a relay."""
    return take_back(dialect, "claimed_by = :name")


def take_back_expired(dialect: Dialect) -> TextClause:
    """Return the statement that ends the claims that have lasted too long."""
    return take_back(dialect, f"claimed_until < {dialect.now}")


@cache
def forget_claims(dialect: Dialect) -> TextClause:
    """Return the statement that ends the claims of a relay, except those of some rows."""
    return text(
        "UPDATE queued_job SET state = 'new', claimed_by = NULL, claimed_until = NULL "
        "WHERE state = 'claimed' AND claimed_by = :name "
        f"AND id NOT IN (SELECT m.id FROM {dialect.source(ID)})"
    )
