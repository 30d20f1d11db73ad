"""Wake a relay when rows are inserted, by PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Connection

from ..errors import InvalidArgument
from .database import Database, describe
from .database_thread import DatabaseThread
from .dialect import POSTGRESQL

log = logging.getLogger("beanstalkt.outbox")

CHANNEL = "queued_job"
"""What the trigger of the table notifies."""

RETRY = 5.0
"""Seconds before a connection is made again that was lost."""


def check(database: Database) -> None:
    """Raise InvalidArgument if a database has no notifications that can be waited for."""
    if database.dialect is not POSTGRESQL or database.engine.driver != "psycopg":
        raise InvalidArgument(
            f"{database.shown}: only PostgreSQL, by the driver psycopg, notifies a relay"
        )


async def listen(url: str, heard: Callable[[], object], retry: float = RETRY) -> None:
    """Call a function whenever rows may have been inserted, until the task is cancelled.

    :param url: of the database
    :param retry: seconds before a connection is made again that was lost. Meanwhile the relay
        looks at the table by itself, as it does without notifications
    """
    while True:
        database = Database(url)
        try:
            await _listen_once(database, heard)
        except Exception as error:
            log.warning("no notifications from the database: %s", describe(error))
        finally:
            database.close()
        await asyncio.sleep(retry)


async def _listen_once(database: Database, heard: Callable[[], object]) -> None:
    """Listen on one connection until it is lost."""
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()
    # Not in a thread of the loop's: that would keep the process for as long as it connects.
    thread = DatabaseThread("listening")
    try:
        connection = await thread.call(_connect, database)
    finally:
        thread.close()
    try:
        driver: Any = connection.connection.driver_connection

        def readable() -> None:
            try:
                driver.pgconn.consume_input()
                while driver.pgconn.notifies() is not None:
                    pass  # one look at the table is enough for all of them
            except Exception as error:
                loop.remove_reader(driver_fd)
                if not lost.done():
                    lost.set_exception(error)
            heard()

        driver_fd = driver.fileno()
        loop.add_reader(driver_fd, readable)
        try:
            heard()  # of what came while nobody listened
            await lost
        finally:
            loop.remove_reader(driver_fd)
    finally:
        connection.invalidate()
        connection.close()


def _connect(database: Database) -> Connection:
    connection = database.engine.connect()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.exec_driver_sql(f"LISTEN {CHANNEL}")
    return connection
