"""URLs of databases: their drivers, and what is said of one that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, OperationalError

import beanstalkt.sql
from beanstalkt.errors import InvalidArgument
from beanstalkt.sql import database as database_module
from beanstalkt.sql.database import (
    Database,
    MissingDriver,
    TooOld,
    describe,
    is_temporary,
    read_url,
)
from beanstalkt.sql.dialect import BIGINT, INTEGER, POSTGRESQL, SECONDS, SQLITE, TEXT


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("mysql://h/d", "mysql+pymysql"),
        ("mariadb://h/d", "mysql+pymysql"),
        ("mysql+mysqldb://h/d", "mysql+mysqldb"),
        ("sqlite:///file.db", "sqlite"),
    ],
)
def test_a_url_says_which_driver_is_used(url: str, driver: str) -> None:
    assert read_url(url).drivername == driver


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must look like"),
        ("jobs.db", "must look like"),
        ("oracle://h/d", "oracle is not a supported database"),
        ("sqlite://", "needs the name of a file"),
        ("postgresql://h:port/d", "must look like"),
    ],
)
def test_any_other_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read_url(url)


def test_a_missing_driver_is_named_with_its_extra() -> None:
    with pytest.raises(MissingDriver, match=r"psycopg2.*beanstalkt\[postgresql\]"):
        Database("postgresql+psycopg2://h/d")
    with pytest.raises(InvalidArgument, match=r"sqlite\+nothing"):
        Database("sqlite+nothing:///file")


def test_a_password_is_never_shown() -> None:
    database = Database("postgresql://u:secret@localhost:1/d")
    assert "secret" not in database.shown
    with pytest.raises(OperationalError) as caught, database.reading():
        pass
    assert "secret" not in describe(caught.value)
    database.close()


def test_transactions_are_isolated_as_relays_need_it(url: str) -> None:
    with closing(Database(url)) as database:
        if database.dialect is SQLITE:
            pytest.skip("it has one kind of isolation")
        with database.transaction() as connection:
            if database.dialect is POSTGRESQL:
                connection.exec_driver_sql(
                    f'ALTER DATABASE "{database.engine.url.database}" '
                    "SET default_transaction_isolation = 'serializable'"
                )
        database.close()
        with database.reading() as connection:
            assert connection.get_isolation_level() == "READ COMMITTED"
            if database.dialect is POSTGRESQL:
                shown = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
                assert shown == "read committed"


@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii"])
def test_texts_are_of_any_kind_whatever_encoding_is_asked_for(url: str, encoding: str) -> None:
    if "postgresql" not in url:
        pytest.skip("the others have no such setting")
    with closing(Database(f"{url}&client_encoding={encoding}")) as database:
        columns = {"msg": TEXT}
        select = sqlalchemy.text(f"SELECT m.msg FROM {database.dialect.source(columns)}")
        with database.reading() as connection:
            given = database.dialect.parameters(columns, [("\u20ac \u6f22",)])
            assert connection.execute(select, given).scalar_one() == "\u20ac \u6f22"


def test_a_session_without_the_prepared_statements_of_another_is_temporary(url: str) -> None:
    """A pooler may give each transaction another session."""
    with closing(Database(url)) as database:
        if database.dialect is not POSTGRESQL:
            pytest.skip("only its driver prepares statements by itself")
        for _ in range(10):
            with database.reading() as connection:
                connection.exec_driver_sql("SELECT 1")
        with database.reading() as connection:
            connection.exec_driver_sql("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
        with pytest.raises(DBAPIError) as caught, database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert is_temporary(caught.value)
        with database.reading() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_seconds_from_now_are_the_same_number_of_seconds_from_now(url: str) -> None:
    with closing(Database(url)) as database, database.reading() as connection:
        for seconds in range(3600, 3700):
            later = database.dialect.later(str(seconds))
            left = f"SELECT {database.dialect.seconds_until(f'({later})')}"
            assert seconds - 10 < float(connection.exec_driver_sql(left).scalar_one()) <= seconds


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
GIVEN = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        TEXTS | st.sampled_from(["NULL", "{}", "a,b", 'a"b', "a\\", "\\n", "'", ""]) | st.none(),
        st.integers(-(2**31), 2**31 - 1) | st.none(),
        st.floats(-1e9, 1e9).map(lambda number: round(number, 3)) | st.none(),
    ),
    max_size=5,
)


def test_given_rows_arrive_as_they_were_given(url: str) -> None:
    columns = {"id": BIGINT, "msg": TEXT, "status": INTEGER, "age": SECONDS}
    with closing(Database(url)) as database:
        dialect = database.dialect
        select = sqlalchemy.text(
            f"SELECT m.id, m.msg, m.status, m.age FROM {dialect.source(columns)}"
        )

        @settings(max_examples=50, deadline=None)
        @given(GIVEN)
        def arrive(rows: list[tuple[Any, ...]]) -> None:
            with database.reading() as connection:
                found = connection.execute(select, dialect.parameters(columns, rows)).all()
            assert [tuple(row) for row in found] == rows

        arrive()


def test_a_server_that_is_too_old_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(database_module._OLDEST, "sqlite", (999, 1))
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    message = r"SQLite 3\.[0-9.]+ is too old: 999\.1 or later is needed"
    for _ in range(2):
        with pytest.raises(TooOld, match=message), database.reading():
            pass
    database.close()


def test_a_producer_on_a_dbapi_connection_does_not_import_sqlalchemy() -> None:
    program = (
        "import sqlite3, sys\nfrom beanstalkt.sql import enqueue\n"
        "c = sqlite3.connect(':memory:')\n"
        "try: enqueue(c, 't', 'x')\nexcept sqlite3.OperationalError: pass\n"
        "sys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 0


def test_without_sqlalchemy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "beanstalkt.sql.tables", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"metadata needs SQLAlchemy.*beanstalkt\[sql\]"):
        beanstalkt.sql.metadata  # noqa: B018
