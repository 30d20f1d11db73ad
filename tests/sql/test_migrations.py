"""The tables are the same by the plain SQL, by the metadata, and after every way to make them."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import sqlalchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from beanstalkt.sql.database import Database
from beanstalkt.sql.dialect import MYSQL
from beanstalkt.sql.migrations import VERSIONS, WrongSchema, check, migrate, schema, version_of
from beanstalkt.sql.tables import metadata

OLD_INSERT = (
    "INSERT INTO queued_job (http_method, url, body, timeout_secs) VALUES "
    "('post', 'http://something.example.com/somewhere', 'some post body', 120)"
)
"""As it stands in the documentation of strings-queue."""


def described(database: Database) -> dict[str, dict[str, object]]:
    """The columns and indexes of each table, as the database tells them."""
    found: dict[str, dict[str, object]] = {}
    with database.reading() as connection:
        inspector = sqlalchemy.inspect(connection)
        for table in metadata.tables:
            found[table] = {
                "columns": [
                    (each["name"], str(each["type"]), each["nullable"])
                    for each in inspector.get_columns(table)
                ],
                "unique": sorted(
                    tuple(each["column_names"])
                    for each in inspector.get_indexes(table)
                    if each["unique"]
                ),
                "indexes": sorted(
                    tuple(map(str, each["column_names"])) for each in inspector.get_indexes(table)
                ),
                "checks": sorted(
                    str(each["name"]) for each in inspector.get_check_constraints(table)
                ),
            }
    return found


def test_the_metadata_makes_the_same_tables_as_the_sql(database: Database, url: str) -> None:
    by_sql = described(database)
    with database.transaction() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert described(database) == by_sql


def test_a_time_has_as_many_digits_by_default_as_its_column_in_mysql() -> None:
    # MariaDB takes fewer; MySQL refuses the table.
    made = str(CreateTable(metadata.tables["queued_job"]).compile(dialect=mysql.dialect()))
    assert "created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)" in made


def test_the_printed_schema_is_the_same(url: str) -> None:
    with closing(Database(url)) as database:
        with database.transaction() as connection:
            for statement in schema(database.dialect).split(";\n"):
                lines = [each for each in statement.splitlines() if not each.startswith("--")]
                if "".join(lines).strip():
                    connection.exec_driver_sql("\n".join(lines))
        check(database)
        assert migrate(database) == []


def test_the_insert_of_strings_queue_is_all_that_a_row_needs(database: Database) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql(OLD_INSERT)
        row = connection.exec_driver_sql("SELECT * FROM queued_job").mappings().one()
    assert (row["state"], row["sends"], row["priority"]) == ("new", 0, 2**31)
    assert (row["remaining_retries"], row["retry_delay_secs"]) == (None, None)
    assert row["created_at"] is not None


@pytest.mark.parametrize(
    "columns", ["(body) VALUES ('x')", "(url, payload) VALUES ('x', 'x')"], ids=["none", "both"]
)
def test_a_row_has_a_url_or_a_payload(database: Database, columns: str) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError), database.transaction() as connection:
        connection.exec_driver_sql(f"INSERT INTO queued_job {columns}")


def test_a_unique_key_is_unique_until_it_is_null(database: Database) -> None:
    insert = "INSERT INTO queued_job (url, unique_key) VALUES ('x', 'k')"
    with database.transaction() as connection:
        connection.exec_driver_sql(insert)
    with pytest.raises(IntegrityError), database.transaction() as connection:
        connection.exec_driver_sql(insert)
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE queued_job SET unique_key = NULL")
        connection.exec_driver_sql(insert)


def test_two_programs_may_migrate_at_once(url: str) -> None:
    done: list[list[int]] = []

    def run() -> None:
        with closing(Database(url)) as database:
            done.append(migrate(database))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [[], [], list(VERSIONS)]


def test_what_is_missing_foreign_or_newer_is_said(url: str) -> None:
    with closing(Database(url)) as database:
        assert version_of(database) == 0
        with pytest.raises(WrongSchema, match="run beanstalkt outbox migrate"):
            check(database)
        with database.transaction() as connection:
            connection.exec_driver_sql("CREATE TABLE queued_job (id integer)")
        with pytest.raises(WrongSchema, match="a table queued_job that is not"):
            migrate(database)
        with database.transaction() as connection:
            connection.exec_driver_sql("DROP TABLE queued_job")
        migrate(database)
        with database.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO queued_job_version VALUES (99)")
        with pytest.raises(WrongSchema, match="version 99"):
            check(database)


def test_mysql_stores_times_as_moments(database: Database) -> None:
    """Whatever the time zones of the sessions of producers are."""
    if database.dialect is not MYSQL:
        pytest.skip("other databases have a type for it")
    with database.transaction() as connection:
        connection.exec_driver_sql("SET time_zone = '+05:00'")
        connection.exec_driver_sql("INSERT INTO queued_job (url, not_before) VALUES ('x', NOW())")
        connection.exec_driver_sql("SET time_zone = '-05:00'")
        age = "SELECT TIMESTAMPDIFF(SECOND, not_before, NOW()) FROM queued_job"
        assert abs(int(connection.exec_driver_sql(age).scalar_one())) < 60
