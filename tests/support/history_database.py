"""A database with a history, for tests of what reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from beanstalkt.sql.database import Database
from beanstalkt.sql.migrations import migrate

INSERT = (
    "INSERT INTO queued_job_log (event_id, server, beanstalk_job_id, tube, event, msg) "
    "VALUES (?, 's', ?, ?, ?, ?)"
)


def with_events(path: Path, number: int) -> str:
    """A database of which every third event is of the tube a."""
    url = f"sqlite:///{path}"
    database = Database(url)
    migrate(database)
    database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            INSERT,
            (
                (str(each), each, "a" if each % 3 == 0 else "b", "finished", "<b>done</b>")
                for each in range(number)
            ),
        )
    return url
