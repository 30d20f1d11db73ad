"""Rows of an outbox, and what is in them, for tests of what writes into them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from beanstalkt import Client
from beanstalkt.sql.database import Database
from beanstalkt.sql.outbox import Outbox
from beanstalkt.sql.relay import Relay, RelayTiming

FAST = RelayTiming(poll=0.005, max_poll=0.02, back_off=0.02, expired_interval=0.0)


def relay_of(database: Database, client: Client, name: str = "relay", **options: Any) -> Relay:
    """A relay with a connection of its own to the database of a test."""
    own = Database(database.engine.url.render_as_string(hide_password=False))
    doubtful = "in doubt" if options.get("on_doubt") == "park" else "new"
    options.setdefault("timing", FAST)
    return Relay(Outbox(own, name, doubtful), client, "one", **options)


def insert(database: Database, **columns: Any) -> int:
    """Insert one row; return its id."""
    names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    with database.transaction() as connection:
        connection.execute(text(f"INSERT INTO queued_job ({names}) VALUES ({marks})"), columns)
        return int(connection.execute(text("SELECT max(id) FROM queued_job")).scalar_one())


def insert_many(database: Database, count: int, tube: str = "t") -> None:
    """Insert rows with a payload each."""
    rows = [{"payload": b"job %d" % number, "tube": tube} for number in range(count)]
    with database.transaction() as connection:
        statement = "INSERT INTO queued_job (payload, tube) VALUES (:payload, :tube)"
        connection.execute(text(statement), rows)


def row(database: Database, row_id: int) -> Mapping[str, Any]:
    """Return all columns of a row."""
    with database.reading() as connection:
        statement = text("SELECT * FROM queued_job WHERE id = :id")
        return dict(connection.execute(statement, {"id": row_id}).mappings().one())


def states(database: Database) -> Counter[str]:
    """Return how many rows are in each state."""
    with database.reading() as connection:
        found = connection.execute(text("SELECT state, count(*) FROM queued_job GROUP BY state"))
        return Counter({name: int(count) for name, count in found})


def events(database: Database, row_id: int | None = None) -> list[Mapping[str, Any]]:
    """Return the history in the order in which it was written: all, or that of a row."""
    where = "" if row_id is None else " WHERE job_id = :id"
    with database.reading() as connection:
        found = connection.execute(
            text(f"SELECT * FROM queued_job_log{where} ORDER BY id"),
            {} if row_id is None else {"id": row_id},
        )
        return [dict(each) for each in found.mappings()]
