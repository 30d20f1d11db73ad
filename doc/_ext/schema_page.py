"""The reference of the tables of the outbox and the history, out of their metadata."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Table

from beanstalkt.sql.tables import metadata

INTRODUCTION = """\
# The tables of the outbox

`beanstalkt outbox migrate` makes them ([how](../howto/outbox.md)). `beanstalkt outbox schema`
prints them as SQL, and `beanstalkt.sql.metadata` has them for SQLAlchemy and Alembic. A program
writes the columns of `queued_job` from `http_method` to `unique_key`, and reads the others. Times
are those of the database's clock. This page is made of the metadata.
"""

SQL = """\
## As SQL

An index is partial where the database can have one. A relay finds new rows by it, and never by
the order of ids, because transactions are not committed in that order.
"""


def schema() -> str:
    """Return the page about every column of every table."""
    lines = [INTRODUCTION]
    for table in metadata.tables.values():
        lines += columns(table)
    lines.append(SQL)
    for name, title in (
        ("postgresql", "PostgreSQL"),
        ("mysql", "MySQL, MariaDB"),
        ("sqlite", "SQLite"),
    ):
        lines += [
            f"### {title}\n",
            f"```{{literalinclude}} ../../beanstalkt/sql/schema/{name}_1.sql",
            ":language: sql",
            "```\n",
        ]
    return "\n".join(lines)


def columns(table: Table) -> Iterator[str]:
    """Yield the lines about a table."""
    yield f"## {table.name}\n"
    yield "| column | type | unless given | meaning |"
    yield "| --- | --- | --- | --- |"
    for column in table.columns:
        yield f"| `{column.name}` | {column.type} | {default(column)} | {column.doc} |"
    yield ""


def default(column: Column[object]) -> str:
    """Return what a column holds unless it is given."""
    if column.primary_key:
        return "the next number" if column.autoincrement is True else "must be given"
    if column.server_default is None:
        return "NULL" if column.nullable else "must be given"
    value = getattr(column.server_default, "arg", "")
    return f"`{value}`" if isinstance(value, str) else "now"
