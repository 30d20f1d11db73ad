"""Look after the tables: what is in them, put rows again, delete old ones. In small batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from ..protocol.servers import known_as
from .database import Database
from .dialect import Dialect
from .statements import ID, with_lists

BATCH = 1000
"""Rows of a transaction: few enough that nobody waits for it."""

STATES = ("new", "claimed", "sent", "done", "failed", "in doubt")
"""The states of a row."""


def status(database: Database) -> dict[str, Any]:
    """Return how many rows are in each state, how long they have waited, and who claims them."""
    dialect = database.dialect
    with database.reading() as connection:
        counts = dict.fromkeys(STATES, 0)
        for state, count in connection.execute(
            text("SELECT state, count(*) FROM queued_job GROUP BY state")
        ):
            counts[state] = count
        oldest = connection.execute(
            text(
                f"SELECT {dialect.seconds_until('created_at')} FROM queued_job "
                "WHERE state = 'new' ORDER BY id LIMIT 1"
            )
        ).scalar()
        claims = connection.execute(
            text(
                "SELECT claimed_by, count(*), "
                f"min({dialect.seconds_until('claimed_until')}) FROM queued_job "
                "WHERE state = 'claimed' GROUP BY claimed_by ORDER BY claimed_by"
            )
        ).all()
        servers = connection.execute(
            text(
                "SELECT server, server_run, count(*) FROM queued_job WHERE state = 'sent' "
                "GROUP BY server, server_run ORDER BY server, server_run"
            )
        ).all()
    return {
        "rows": counts,
        "oldest_new_seconds": None if oldest is None else _rounded(-float(oldest)),
        "claims": [
            {"relay": name, "rows": count, "seconds_left": _rounded(float(left))}
            for name, count, left in claims
        ],
        "sent": [
            {"server": server, "server_run": run, "rows": count} for server, run, count in servers
        ],
    }


def resend(
    database: Database,
    *,
    server: str | None = None,
    server_run: str | None = None,
    states: Sequence[str] = ("sent",),
    ids: Sequence[int] = (),
    dry_run: bool = False,
) -> Iterator[int]:
    """Make rows new again, so that a relay puts them once more; yield the rows of each batch.

    A row goes on with the attempts that it has left. One without any gets those of the runner.

    :param server: only rows that were sent to the server of this name, or without a name to this
        URL; None: to any
    :param server_run: only rows that were sent to this run of it (its ``id`` in ``stats``)
    :param states: only rows in these states
    :param ids: only these rows; empty: all
    :param dry_run: only count
    """
    conditions: list[str] = ["state IN :states"]
    values: dict[str, Any] = {"states": list(states)}
    if server is not None:
        conditions.append("server IN :servers")
        values["servers"] = list(known_as(server))
    if server_run is not None:
        conditions.append("server_run = :server_run")
        values["server_run"] = server_run
    if ids:
        conditions.append("id IN :ids")
        values["ids"] = list(ids)
    condition = " AND ".join(conditions)
    update = (
        "UPDATE queued_job SET state = 'new', last_error = NULL, remaining_retries = "
        "CASE WHEN remaining_retries < 1 THEN NULL ELSE remaining_retries END WHERE " + condition
    )
    yield from _batches(database, "queued_job", condition, values, None if dry_run else update)


def clean(
    database: Database,
    seconds: float,
    *,
    states: Sequence[str] = ("done",),
    dry_run: bool = False,
) -> Iterator[int]:
    """Delete rows of jobs that ended so many seconds ago; yield the rows of each batch."""
    dialect = database.dialect
    condition = (
        "state IN :states AND COALESCE(last_finished_at, sent_at, created_at) "
        f"< {dialect.later('-:seconds')}"
    )
    values = {"states": list(states), "seconds": seconds}
    delete = None if dry_run else f"DELETE FROM queued_job WHERE {condition}"
    yield from _batches(database, "queued_job", condition, values, delete)


def clean_log(database: Database, seconds: float, *, dry_run: bool = False) -> Iterator[int]:
    """Delete events of the history that are older than so many seconds; yield as `clean` does."""
    condition = f"created_at < {database.dialect.later('-:seconds')}"
    delete = None if dry_run else f"DELETE FROM queued_job_log WHERE {condition}"
    yield from _batches(database, "queued_job_log", condition, {"seconds": seconds}, delete)


def _batches(
    database: Database,
    table: str,
    condition: str,
    values: dict[str, Any],
    statement: str | None,
) -> Iterator[int]:
    """Carry out a statement for the rows that meet a condition, `BATCH` of them at a time.

    :param statement: an update or delete with the condition in it; None: only count
    """
    last = 0
    while True:
        with database.reading() if statement is None else database.transaction() as connection:
            found = _ids(connection, table, condition, values | {"last": last, "limit": BATCH})
            count = len(found)
            if statement is not None and found:
                count = _carry_out(connection, database.dialect, statement, values, found)
        if not found:
            return
        last = found[-1]
        yield count


def _ids(connection: Connection, table: str, condition: str, values: dict[str, Any]) -> list[int]:
    select = f"SELECT id FROM {table} WHERE id > :last AND {condition} ORDER BY id LIMIT :limit"
    return list(connection.execute(with_lists(select, values), values).scalars())


def _carry_out(
    connection: Connection,
    dialect: Dialect,
    statement: str,
    values: dict[str, Any],
    ids: Sequence[int],
) -> int:
    chosen = f"{statement} AND id IN (SELECT m.id FROM {dialect.source(ID)})"
    rows = dialect.parameters(ID, [(each,) for each in ids])
    return connection.execute(with_lists(chosen, values), {**values, **rows}).rowcount


def _rounded(seconds: float) -> float:
    return round(seconds, 1)
