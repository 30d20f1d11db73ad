"""The versions of the schema: their plain SQL, and how a database is brought to the last one."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy
from sqlalchemy.engine import Connection

from ..errors import InvalidArgument
from .database import Database
from .dialect import MYSQL, POSTGRESQL, Dialect

VERSIONS = (1,)
"""The versions of the schema, the oldest first."""

_LOCK = 0x6265616E  # a number that other programs are unlikely to lock


class WrongSchema(InvalidArgument):
    """Report that the tables of a database are missing, foreign, or of another version."""


def schema(dialect: Dialect) -> str:
    """Return the SQL of all versions, with which an empty database gets the tables."""
    parts = ["CREATE TABLE queued_job_version (version integer NOT NULL PRIMARY KEY);\n"]
    for version in VERSIONS:
        parts.append(_text(dialect, version))
        parts.append(f"INSERT INTO queued_job_version (version) VALUES ({version});\n")
    return "\n".join(parts)


def version_of(database: Database) -> int:
    """Return the version of the schema in a database; 0: it has none."""
    with database.reading() as connection:
        return _version(connection)


def check(database: Database) -> None:
    """Raise WrongSchema unless a database has the last version of the schema."""
    version = version_of(database)
    if version < VERSIONS[-1]:
        what = "no tables of the outbox" if not version else f"version {version} of the outbox"
        raise WrongSchema(
            f"{database.shown} has {what}: run beanstalkt outbox migrate --database URL"
        )
    if version > VERSIONS[-1]:
        raise WrongSchema(
            f"{database.shown} has version {version} of the outbox, which this version of "
            f"beanstalkt does not know (it knows {VERSIONS[-1]})"
        )


def migrate(database: Database) -> list[int]:
    """Bring a database to the last version; return the versions that it was given.

    Raises WrongSchema if it has a table queued_job that is not the outbox's, and
    sqlalchemy.exc.SQLAlchemyError. Two programs may call this at once.
    """
    dialect = database.dialect
    with database.transaction() as connection:
        if dialect is POSTGRESQL:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        elif dialect is MYSQL:
            connection.execute(sqlalchemy.text("SELECT GET_LOCK('beanstalkt outbox', 60)"))
        version = _version(connection)
        if not version:
            _refuse_foreign(connection, database)
            connection.exec_driver_sql(
                "CREATE TABLE IF NOT EXISTS queued_job_version "
                "(version integer NOT NULL PRIMARY KEY)"
            )
        missing = [each for each in VERSIONS if each > version]
        for each in missing:
            for statement in _statements(_text(dialect, each)):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"INSERT INTO queued_job_version VALUES ({each})")
    if dialect is MYSQL:
        database.close()  # which releases the lock, but not before the commit
    return missing


def notify(database: Database) -> None:
    """Have a PostgreSQL notify relays that listen of inserted rows. May be repeated."""
    with database.transaction() as connection:
        for statement in _statements(_file("postgresql_notify.sql")):
            connection.exec_driver_sql(statement)


def _version(connection: Connection) -> int:
    if not sqlalchemy.inspect(connection).has_table("queued_job_version"):
        return 0
    found = connection.exec_driver_sql("SELECT max(version) FROM queued_job_version").scalar()
    return found or 0


def _refuse_foreign(connection: Connection, database: Database) -> None:
    inspector = sqlalchemy.inspect(connection)
    found = [name for name in ("queued_job", "queued_job_log") if inspector.has_table(name)]
    if found:
        raise WrongSchema(
            f"{database.shown} has a table {found[0]} that is not of this outbox, or that was "
            "made without queued_job_version: rename it first"
        )


def _text(dialect: Dialect, version: int) -> str:
    return _file(f"{dialect.name}_{version}.sql")


def _file(name: str) -> str:
    return (files(__package__) / "schema" / name).read_text(encoding="utf-8")


def _statements(script: str) -> list[str]:
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [each.strip() for each in "\n".join(lines).split(";\n") if each.strip(" ;\n")]
