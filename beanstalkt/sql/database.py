"""The database of the outbox and the history: its URL, its driver, and transactions on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.pool import NullPool

from ..errors import InvalidArgument
from .dialect import MYSQL, POSTGRESQL, SQLITE, Dialect

CONNECT_TIMEOUT = 10
"""Seconds for a connection to the database."""

REPLY_TIMEOUT = 60
"""Seconds that a database may be silent before its connection counts as lost."""

_DIALECTS = {
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": SQLITE,
}
_OLDEST = {"postgresql": (13,), "mysql": (8, 0), "mariadb": (10, 6), "sqlite": (3, 33)}
_SHOWN = {
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "sqlite": "SQLite",
}
_TEMPORARY = {
    "25006",  # read-only: a standby that is about to take over
    # No such prepared statement, or one more of this name: a pooler such as PgBouncer may give
    # each transaction another session. The next connection prepares its own.
    "26000",
    "42P05",
}
"""Codes of PostgreSQL that are temporary, though its driver's classes do not say so."""
_NO_UTF_8 = "Could not decode to UTF-8"
_MISSING = re.compile("no such (table|column)|has no column|syntax error|Unknown column")
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}
_NAMES = {"postgres": "postgresql", "mariadb": "mysql"}


class MissingDriver(InvalidArgument):
    """Report that the package with which Python talks to a database is not installed."""


class TooOld(InvalidArgument):
    """Report that a database server is older than what this package supports."""


class Database:
    """A database, with one connection to it that is made when it is needed.

    It is used by one thread at a time.

    :param url: ``postgresql://user:password@host/name``, ``mysql://…``, ``mariadb://…`` or
        ``sqlite:///file``, as SQLAlchemy reads it; a driver may be named (``mysql+mysqldb://…``)

    Raises InvalidArgument for anything else, and MissingDriver.
    """

    def __init__(self, url: str) -> None:
        chosen = read_url(url)
        self.dialect = dialect_of(chosen.get_backend_name())
        #: the URL without its password
        self.shown = chosen.render_as_string(hide_password=True)
        try:
            self.engine = _engine(chosen, self.dialect)
        except ModuleNotFoundError as error:
            raise MissingDriver(
                f"{self.shown} needs the package {error.name}: "
                f"pip install 'beanstalkt[{self.dialect.extra}]'"
            ) from None
        if self.dialect is SQLITE:
            sqlalchemy.event.listen(self.engine, "connect", self._sqlite_connected)
        elif self.dialect is MYSQL:
            sqlalchemy.event.listen(self.engine, "connect", _mysql_connected)
        self._lenient = False  # whether SQLite has had a text that is no UTF-8
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run the body of a ``with`` in a transaction that writes, and commit it.

        When anything goes wrong, it is rolled back, and the connection is given up unless it can
        certainly be used again. Raises sqlalchemy.exc.SQLAlchemyError, and TooOld.
        """
        with self._begun(self.dialect.begin_writing) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run the body of a ``with`` in a transaction that only reads."""
        with self._begun(self.dialect.begin_reading) as connection:
            yield connection

    @contextmanager
    def _begun(self, begin: str | None) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        try:
            with connection.begin():
                if begin is not None:
                    connection.exec_driver_sql(begin)
                yield connection
        except BaseException as error:
            self._lenient = self._lenient or _NO_UTF_8 in str(error)
            self.close()
            raise

    def _sqlite_connected(self, connection: Any, _: object) -> None:
        # sqlite3 begins no transaction by itself: BEGIN IMMEDIATE does it, see `Dialect`.
        connection.isolation_level = None
        if self._lenient:
            # One row may be refused for it, but no statement about many rows.
            connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")

    def _connect(self) -> Connection:
        connection = self.engine.connect()
        try:
            _refuse_old(connection)
        except TooOld:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection to the database. The next transaction makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception:
                pass  # it is lost already
        self.engine.dispose()


def read_url(text: str) -> URL:
    """Return the URL of a database, with the driver for it. Raises InvalidArgument."""
    try:
        url = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):
        raise InvalidArgument(
            "the URL of a database must look like postgresql://user:password@host/name, "
            "mysql://user:password@host/name or sqlite:///file"
        ) from None
    backend, _, driver = url.drivername.partition("+")
    if backend not in _DIALECTS:
        raise InvalidArgument(
            f"{backend[:50]} is not a supported database: use postgresql, mysql, mariadb or sqlite"
        )
    backend = _NAMES.get(backend, backend)
    if backend == "sqlite" and not url.database:
        raise InvalidArgument("sqlite:///file needs the name of a file")
    driver = driver or _DRIVERS.get(backend, "")
    return url.set(drivername=f"{backend}+{driver}" if driver else backend)


def dialect_of(name: str) -> Dialect:
    """Return how a database of this name is spoken to. Raises InvalidArgument."""
    try:
        return _DIALECTS[name]
    except KeyError:
        raise InvalidArgument(
            f"{name[:50]} is not one of postgresql, mysql, mariadb, sqlite"
        ) from None


def _engine(url: URL, dialect: Dialect) -> Engine:
    options: dict[str, Any] = {"poolclass": NullPool}
    if dialect is not SQLITE:
        # Whatever the server's default is: relays would collide with each other at any higher one.
        options["isolation_level"] = "READ COMMITTED"
    arguments: dict[str, Any] = {}
    if dialect is SQLITE:
        # A writer waits for another one that long. The thread is any, but one at a time.
        arguments = {"timeout": CONNECT_TIMEOUT, "check_same_thread": False}
    elif dialect is POSTGRESQL and url.get_driver_name() == "psycopg":
        arguments = {
            # Whatever the environment, the role or the database asks for: texts are of any kind.
            "client_encoding": "utf8",
            "connect_timeout": CONNECT_TIMEOUT,
            "keepalives_idle": REPLY_TIMEOUT // 2,
            "keepalives_interval": REPLY_TIMEOUT // 6,
            "keepalives_count": 3,
            "tcp_user_timeout": REPLY_TIMEOUT * 1000,
            "application_name": "beanstalkt",
        }
    elif dialect is MYSQL and url.get_driver_name() == "pymysql":
        arguments = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": REPLY_TIMEOUT,
            "write_timeout": REPLY_TIMEOUT,
        }
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments, **options)
    except NoSuchModuleError as error:
        raise InvalidArgument(f"{url.drivername} is not a driver of SQLAlchemy") from error
    return engine


def _mysql_connected(connection: Any, _: object) -> None:
    """Have MySQL calculate with universal time: local time has hours that are there twice."""
    cursor = connection.cursor()
    cursor.execute("SET time_zone = '+00:00'")
    cursor.close()


def _refuse_old(connection: Connection) -> None:
    """Raise TooOld for a server without the statements that are used: its errors say less."""
    dialect = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    version = tuple(each for each in dialect.server_version_info or () if isinstance(each, int))
    if version and version < _OLDEST[name]:
        shown, oldest = (".".join(map(str, each)) for each in (version, _OLDEST[name]))
        raise TooOld(f"{_SHOWN[name]} {shown} is too old: {oldest} or later is needed")


def describe(error: BaseException) -> str:
    """Return what a database said, in one line."""
    shown = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    arguments: tuple[object, ...] = getattr(shown, "args", ())
    if len(arguments) == 2 and isinstance(arguments[0], int):  # MySQL: a number and a text
        text = f"{arguments[1]} ({arguments[0]})"
    else:
        text = str(shown)
    return " ".join(text.split())[:500] or type(shown).__name__


def is_temporary(error: BaseException) -> bool:
    """Return whether the same transaction may well succeed later, as after a deadlock.

    Other errors tell of a table or a column that does not exist, or of a value that does not fit.
    """
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if getattr(error.orig, "sqlstate", None) in _TEMPORARY:
        return True
    # SQLite has one class of errors for what is locked or full, and for what does not exist.
    return isinstance(error, OperationalError) and not _MISSING.search(str(error.orig))


def concerns_values(error: BaseException) -> bool:
    """Return whether a database refused a value, which another row may not have."""
    return isinstance(error, (DataError, IntegrityError, UnicodeError))
