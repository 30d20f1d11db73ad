"""What databases write differently: a time, given rows, an update from rows. No I/O.

Every statement about many rows takes them in one parameter, or in one for each column: one round
trip, and one step during which Python's lock is free, whatever the number of rows.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

BIGINT, INTEGER, TEXT, SECONDS = "bigint", "integer", "text", "double precision"
"""The types that a column of given rows may have."""

Row = Sequence[Any]
"""A row that is given to a statement: a str, a number or None for each column."""


class Dialect(abc.ABC):
    """How one kind of database is spoken to.

    :ivar name: as in a URL, and of the files of its schema
    :ivar extra: the extra of this package that brings the driver
    :ivar now: the present time, by the database's clock
    :ivar returning: whether an update can return rows
    :ivar lock: follows the select of rows that are to be claimed
    :ivar pause: after each transaction of a relay, the part of its time for which the relay leaves
        the database to others, where only one can write at a time
    :ivar begin_writing: begins a transaction that writes; None: the driver does it
    :ivar begin_reading: begins a transaction that only reads; None: the driver does it
    """

    name: str
    extra: str
    now: str
    returning = False
    lock = " FOR UPDATE SKIP LOCKED"
    pause = 0.0
    begin_writing: str | None = None
    begin_reading: str | None = None

    @abc.abstractmethod
    def later(self, seconds: str) -> str:
        """Return the expression for the present time plus seconds, an expression as well."""

    @abc.abstractmethod
    def moment(self, seconds: str) -> str:
        """Return the expression for a time, of the seconds since 1970."""

    @abc.abstractmethod
    def seconds_until(self, column: str) -> str:
        """Return the expression for the seconds from now until a time; NULL if it is none."""

    @abc.abstractmethod
    def source(self, columns: Mapping[str, str]) -> str:
        """Return a table ``m`` of the rows in the parameters, with these columns and types."""

    def parameters(self, columns: Mapping[str, str], rows: Collection[Row]) -> dict[str, str]:
        """Return the parameters of a statement with a `source` of the same columns."""
        return {"rows": json.dumps(list(rows), separators=(",", ":"))}

    def skip_known(self, table: str) -> str:
        """Return the end of an insert that skips rows whose key is there already."""
        return "ON CONFLICT DO NOTHING"

    def bytes_of(self, column: str) -> str:
        """Return the expression for the number of bytes of a text or of bytes."""
        return f"octet_length({column})"

    def text(self, parameter: str) -> str:
        """Return a parameter whose type is text, where no column says so."""
        return parameter

    def joined(self, *expressions: str) -> str:
        """Return the expression for texts and numbers, one after another, as one text."""
        return " || ".join(expressions)

    def insert(self, table: str, columns: Sequence[str], select: str, again: bool) -> str:
        """Return an insert of the rows of a select.

        :param again: whether some may be there already, by their keys. They are skipped then, and
            PostgreSQL takes half as long again
        """
        statement = f"INSERT INTO {table} ({', '.join(columns)}) {select}"
        # Without the WHERE, SQLite reads the ON that follows as the condition of a join.
        return f"{statement} WHERE true {self.skip_known(table)}" if again else statement

    def update_from(self, table: str, values: Mapping[str, str], source: str, where: str) -> str:
        """Return an update of a table, called ``q`` in the expressions, from a `source`."""
        assignments = ", ".join(f"{column} = {value}" for column, value in values.items())
        return f"UPDATE {table} AS q SET {assignments} FROM {source} WHERE {where}"


def _numbers(values: Iterable[Any]) -> str:
    """Return numbers as PostgreSQL writes an array."""
    return f"{{{','.join(['NULL' if each is None else str(each) for each in values])}}}"


def _texts(values: Iterable[Any]) -> str:
    """Return texts as PostgreSQL writes an array."""
    quoted = [
        "NULL" if each is None else '"' + each.replace("\\", r"\\").replace('"', r"\"") + '"'
        for each in values
    ]
    return f"{{{','.join(quoted)}}}"


class _PostgreSQL(Dialect):
    name = "postgresql"
    extra = "postgresql"
    now = "now()"
    returning = True
    # Rows that were inserted lately are in no statistics yet. The planner then takes new rows to
    # be few, and would collect and sort all of them for each claim, by a bitmap.
    begin_writing = (
        "SELECT set_config('enable_bitmapscan', 'off', true), "
        "set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"
    )

    def later(self, seconds: str) -> str:
        return f"(now() + make_interval(secs => {seconds}))"

    def moment(self, seconds: str) -> str:
        return f"to_timestamp({seconds})"

    def seconds_until(self, column: str) -> str:
        # The difference of two times would raise an error for 'infinity'; this one is infinite.
        return (
            f"CAST(extract(epoch FROM {column}) - extract(epoch FROM now()) AS double precision)"
        )

    def source(self, columns: Mapping[str, str]) -> str:
        # Arrays: out of JSON, PostgreSQL takes twice as long.
        arrays = ", ".join(f"CAST(:m_{name} AS {kind}[])" for name, kind in columns.items())
        return f"unnest({arrays}) AS m({', '.join(columns)})"

    def parameters(self, columns: Mapping[str, str], rows: Collection[Row]) -> dict[str, str]:
        values = zip(*rows, strict=True) if rows else ((),) * len(columns)
        return {
            f"m_{name}": _texts(column) if kind == TEXT else _numbers(column)
            for (name, kind), column in zip(columns.items(), values, strict=True)
        }

    def text(self, parameter: str) -> str:
        return f"CAST({parameter} AS text)"


class _SQLite(Dialect):
    name = "sqlite"
    extra = "sql"
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    # Not RETURNING: in 3.40, "x IS NULL" may be wrong in it.
    lock = ""  # BEGIN IMMEDIATE: one writer at a time
    # Who finds SQLite locked tries again after up to 0.1 s, and is in no queue: next to a relay
    # with much to do, a program that inserts would never find it free.
    pause = 0.1
    begin_writing = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"

    def later(self, seconds: str) -> str:
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds')"

    def moment(self, seconds: str) -> str:
        return f"strftime('%Y-%m-%d %H:%M:%f', {seconds}, 'unixepoch')"

    def seconds_until(self, column: str) -> str:
        # A day as a number is exact to 40 microseconds only: more than the whole seconds that were
        # meant would become a second more. The times themselves are kept in milliseconds.
        return f"round((julianday({column}) - julianday('now')) * 86400.0, 3)"

    def bytes_of(self, column: str) -> str:
        # The characters of a text, which are fewer: octet_length came with SQLite 3.43 only.
        return f"length({column})"

    def source(self, columns: Mapping[str, str]) -> str:
        fields = ", ".join(
            f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(columns)
        )
        return f"(SELECT {fields} FROM json_each(:rows)) AS m"


class _MySQL(Dialect):
    name = "mysql"
    extra = "mysql"
    now = "CURRENT_TIMESTAMP(6)"

    def later(self, seconds: str) -> str:
        # Not a sum of local times, which may name an hour that the summer time leaves out.
        now = "UNIX_TIMESTAMP() + MICROSECOND(CURRENT_TIMESTAMP(6)) / 1000000"
        return f"FROM_UNIXTIME({now} + ({seconds}))"

    def moment(self, seconds: str) -> str:
        return f"FROM_UNIXTIME({seconds})"

    def seconds_until(self, column: str) -> str:
        return f"TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(6), {column}) / 1000000.0"

    def source(self, columns: Mapping[str, str]) -> str:
        fields = ", ".join(
            f"{name} {_MYSQL_TYPES[kind]} PATH '$[{place}]'"
            for place, (name, kind) in enumerate(columns.items())
        )
        return f"JSON_TABLE(:rows, '$[*]' COLUMNS ({fields})) AS m"

    def joined(self, *expressions: str) -> str:
        return f"CONCAT({', '.join(expressions)})"

    def skip_known(self, table: str) -> str:
        # Not INSERT IGNORE, which would also store what does not fit, cut off.
        return f"ON DUPLICATE KEY UPDATE {table}.id = {table}.id"

    def update_from(self, table: str, values: Mapping[str, str], source: str, where: str) -> str:
        assignments = ", ".join(f"q.{column} = {value}" for column, value in values.items())
        return f"UPDATE {table} AS q JOIN {source} ON {where} SET {assignments}"


_MYSQL_TYPES = {
    BIGINT: "BIGINT",
    INTEGER: "INT",
    TEXT: "LONGTEXT CHARACTER SET utf8mb4",  # else it is that of the database
    SECONDS: "DOUBLE",
}

POSTGRESQL: Dialect = _PostgreSQL()
SQLITE: Dialect = _SQLite()
MYSQL: Dialect = _MySQL()
DIALECTS = (POSTGRESQL, MYSQL, SQLITE)
