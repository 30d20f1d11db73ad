"""Put jobs into the outbox from Python, inside the transaction of the caller.

The row is there when that transaction is committed, and never if it is rolled back. Nothing here
talks to beanstalkd, and nothing but a SQLAlchemy connection needs SQLAlchemy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from inspect import iscoroutinefunction
from typing import Any

from ..dispatch.call import encode
from ..dispatch.schedule import Scheduled
from ..errors import InvalidArgument
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..protocol.arguments import DELAY, PRIORITY, TTR, TUBE, Number, check_body
from .dialect import MYSQL, POSTGRESQL, SQLITE, Dialect

Payload = bytes | bytearray | memoryview | str

_MODULES = {
    "sqlite3": SQLITE,
    "pysqlite3": SQLITE,
    "psycopg": POSTGRESQL,
    "psycopg2": POSTGRESQL,
    "pg8000": POSTGRESQL,
    "pymysql": MYSQL,
    "MySQLdb": MYSQL,
    "mysql": MYSQL,
    "mariadb": MYSQL,
}
"""The kind of database by the module of its DB-API connection."""

_NAMES = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL}

_COLUMNS = ("tube", "payload", "priority", "ttr_secs", "unique_key", "not_before")
_LAST_OF_MYSQL = 2**31 - 1
"""The last time that fits into a timestamp of MySQL, in seconds since 1970."""

_MAX_ATTEMPTS = Number("max_attempts", 2**31 - 1)
_RETRY_DELAY = Number("retry_delay", 2**31 - 1)


def enqueue(
    connection: Any,
    tube: str,
    payload: Payload,
    *,
    priority: int = DEFAULT_PRIORITY,
    delay: int = 0,
    ttr: int = DEFAULT_TTR,
    not_before: datetime | None = None,
    unique_key: str | None = None,
    max_attempts: int | None = None,
    retry_delay: int | None = None,
) -> int | None:
    """Insert a row into the outbox, in the caller's transaction; return the row's id.

    :param connection: a SQLAlchemy Session or Connection, or a DB-API connection (sqlite3,
        psycopg, PyMySQL, mysqlclient, …; Django's ``connection`` is one). From an AsyncSession:
        ``await session.run_sync(enqueue, tube, payload)``
    :param payload: the body of the job; a str is stored as UTF-8
    :param priority: 0 is the most urgent, 2**32 - 1 the least
    :param delay: seconds, by the database's clock, before the job is ready
    :param ttr: seconds that a worker may hold the job
    :param not_before: instead of a delay: when the job is ready; it must have a time zone
    :param unique_key: at most 255 characters. While a row that has not been sent yet has the
        same key, nothing is inserted, and None is returned
    :param max_attempts: how often the job may be run, at least once; None: what the runner is
        set to
    :param retry_delay: seconds before another attempt; None: what the runner is set to

    Raises InvalidArgument before anything is executed, else what the database's driver raises.
    """
    TUBE.check(tube)
    values = [tube, check_body(payload), PRIORITY.check(priority), TTR.check(ttr), unique_key]
    _check_key(unique_key)
    DELAY.check(delay)
    limits = _limits(max_attempts, retry_delay)
    execution = _execution(connection)
    ready, moment = _ready(execution.dialect, delay, not_before)
    statement = _insert(execution.dialect, ready, limits)
    row_id: int | None = execution.insert(statement, [*values, *moment, *limits.values()])
    return row_id


def enqueue_many(
    connection: Any,
    tube: str,
    payloads: Iterable[Payload],
    *,
    priority: int = DEFAULT_PRIORITY,
    delay: int = 0,
    ttr: int = DEFAULT_TTR,
) -> int:
    """Insert a row for each payload, in the caller's transaction; return how many.

    The arguments are those of :func:`enqueue`. All payloads are checked before the first one is
    inserted, so they are all in memory.
    """
    TUBE.check(tube)
    numbers = PRIORITY.check(priority), TTR.check(ttr)
    DELAY.check(delay)
    execution = _execution(connection)
    ready, moment = _ready(execution.dialect, delay, None)
    rows = [[tube, check_body(payload), *numbers, None, *moment] for payload in payloads]
    if rows:
        execution.insert_many(_insert(execution.dialect, ready), rows)
    return len(rows)


def schedule_function(
    connection: Any, tube: str, name: str | Scheduled, /, *args: Any, **kwargs: Any
) -> int | None:
    """Insert a row whose job calls a function of the workers' dispatch table; return its id.

    :param connection: as for :func:`enqueue`
    :param name: name of the function, or a :class:`~beanstalkt.dispatch.Scheduled` with it and how
        its job is put
    :param args: None, bool, int, finite float, str, and lists and dicts of them, as `kwargs`

    Raises InvalidArgument for what is not JSON, else what :func:`enqueue` raises.
    """
    scheduled = name if isinstance(name, Scheduled) else Scheduled(name)
    return enqueue(
        connection,
        tube,
        encode(scheduled.name, args, kwargs),
        priority=scheduled.priority,
        delay=scheduled.delay,
        ttr=scheduled.ttr,
    )


def _check_key(key: object) -> None:
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 255 and "\0" not in key):
        raise InvalidArgument("a unique_key must be a str of 1 to 255 characters without NUL")


def _limits(max_attempts: int | None, retry_delay: int | None) -> dict[str, int]:
    """Return the columns of the limits that a row has, with their values."""
    limits = {}
    if max_attempts is not None:
        limits["remaining_retries"] = _MAX_ATTEMPTS.check(max_attempts)
        if not max_attempts:
            raise InvalidArgument("max_attempts must be at least 1")
    if retry_delay is not None:
        limits["retry_delay_secs"] = _RETRY_DELAY.check(retry_delay)
    return limits


def _ready(dialect: Dialect, delay: int, when: datetime | None) -> tuple[str, list[Any]]:
    """Return the expression for not_before, where {} is a parameter, and that parameter."""
    if dialect is MYSQL:
        last = time.time() + delay if when is None else _timestamp(when)
        if last > _LAST_OF_MYSQL:
            raise InvalidArgument("the times of MySQL and MariaDB end in January 2038")
    if when is None:
        return (dialect.later("{}"), [delay]) if delay else ("NULL", [])
    if delay:
        raise InvalidArgument("a job has either a delay or a not_before")
    return dialect.moment("{}"), [_timestamp(when)]


def _timestamp(when: object) -> float:
    if not isinstance(when, datetime) or when.tzinfo is None:
        raise InvalidArgument(f"not_before must be a datetime with a time zone, not {when!r}")
    return when.timestamp()


def _insert(dialect: Dialect, ready: str, others: Collection[str] = ()) -> str:
    """Return the insert of a row, where {} is each parameter.

    :param others: names of columns besides those that every row has
    """
    columns = ", ".join([*_COLUMNS, *others])
    values = ", ".join(["{}"] * 5 + [ready] + ["{}"] * len(others))
    end = dialect.skip_known("queued_job")
    return f"INSERT INTO queued_job ({columns}) VALUES ({values}) {end}"


class _DBAPI:
    """Execute statements on a DB-API connection."""

    def __init__(self, connection: Any, dialect: Dialect, parameter: str) -> None:
        self._connection = connection
        self._parameter = parameter
        self.dialect = dialect

    def _text(self, statement: str) -> str:
        if self._parameter == "%s":
            statement = statement.replace("%", "%%")
        for number in range(1, statement.count("{}") + 1):
            statement = statement.replace("{}", self._parameter.format(number), 1)
        return statement

    def insert(self, statement: str, values: list[Any]) -> int | None:
        """Insert a row, unless it is there already; return its id."""
        returns = self.dialect is POSTGRESQL
        cursor = self._connection.cursor()
        try:
            cursor.execute(self._text(statement + (" RETURNING id" if returns else "")), values)
            if returns:
                return _first(cursor.fetchone())
            return _new_id(cursor)
        finally:
            cursor.close()

    def insert_many(self, statement: str, rows: list[list[Any]]) -> None:
        """Insert rows."""
        cursor = self._connection.cursor()
        try:
            cursor.executemany(self._text(statement), rows)
        finally:
            cursor.close()


class _SQLAlchemy:
    """Execute statements on a Session or Connection of SQLAlchemy."""

    def __init__(self, connection: Any) -> None:
        # A Session gives the connection of its transaction; a Connection has no such method.
        bound = connection.connection() if hasattr(connection, "get_bind") else connection
        self._connection = bound
        self.dialect = _NAMES.get(bound.dialect.name) or _refuse(bound)

    def _text(self, statement: str) -> Any:
        from sqlalchemy import text

        for number in range(statement.count("{}")):
            statement = statement.replace("{}", f":p{number}", 1)
        return text(statement)

    def insert(self, statement: str, values: list[Any]) -> int | None:
        """Insert a row, unless it is there already; return its id."""
        returns = self.dialect is POSTGRESQL
        done = self._connection.execute(
            self._text(statement + (" RETURNING id" if returns else "")), _named(values)
        )
        if returns:
            return _first(done.first())
        return _new_id(done)

    def insert_many(self, statement: str, rows: list[list[Any]]) -> None:
        """Insert rows."""
        self._connection.execute(self._text(statement), [_named(row) for row in rows])


def _first(row: Any) -> int | None:
    """Return the id in a row, which a driver may have been told to make a mapping."""
    if row is None:
        return None
    return int(next(iter(row.values())) if isinstance(row, Mapping) else row[0])


def _new_id(done: Any) -> int | None:
    """Return the id that SQLite or MySQL gave to the row of an insert, unless it skipped it."""
    # SQLite says that no row was changed, MySQL that the row which was there has the id 0.
    return int(done.lastrowid) or None if done.rowcount == 1 else None


def _named(values: list[Any]) -> dict[str, Any]:
    return {f"p{number}": value for number, value in enumerate(values)}


def _execution(connection: Any) -> Any:
    """Return what executes statements on a connection. Raises InvalidArgument."""
    kind = type(connection)
    package = kind.__module__.partition(".")[0]
    if package == "sqlalchemy" or hasattr(connection, "get_bind"):
        if not hasattr(connection, "execute") or hasattr(connection, "run_sync"):
            _refuse(connection)
        return _SQLAlchemy(connection)
    vendor = getattr(connection, "vendor", None)
    if isinstance(vendor, str):  # Django's, whose parameters are always written %s
        return _DBAPI(connection, _NAMES.get(vendor) or _refuse(connection), "%s")
    for each in kind.__mro__:
        package = each.__module__.partition(".")[0]
        if package in _MODULES and hasattr(connection, "cursor"):
            if iscoroutinefunction(getattr(connection, "commit", None)):
                break
            style = getattr(sys.modules.get(package), "paramstyle", "format")
            parameter = {"qmark": "?", "numeric": ":{}"}.get(style, "%s")
            return _DBAPI(connection, _MODULES[package], parameter)
    return _refuse(connection)


def _refuse(connection: object) -> Any:
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    hint = ": await session.run_sync(enqueue, …)" if hasattr(connection, "run_sync") else ""
    raise InvalidArgument(
        "a job is enqueued on a SQLAlchemy Session or Connection, or on a DB-API connection to "
        f"SQLite, PostgreSQL or MySQL, not on {kind}{hint}"
    )
