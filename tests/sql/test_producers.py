"""Jobs by the API: in the transaction of the caller, over each kind of connection."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from beanstalkt.dispatch import Scheduled
from beanstalkt.errors import InvalidArgument
from beanstalkt.sql import enqueue, enqueue_many, schedule_function
from beanstalkt.sql.database import Database, is_temporary, read_url
from beanstalkt.sql.dialect import MYSQL, POSTGRESQL, SQLITE
from beanstalkt.sql.outbox import Outbox
from beanstalkt.sql.rows import QueuedJob

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.outbox import relay_of, states
from ..support.waiting import until


@contextmanager
def of_session(engine: sqlalchemy.Engine) -> Iterator[Any]:
    with Session(engine) as session:
        yield session


@contextmanager
def of_connection(engine: sqlalchemy.Engine) -> Iterator[Any]:
    with engine.connect() as connection:
        yield connection


@contextmanager
def of_driver(engine: sqlalchemy.Engine) -> Iterator[Any]:
    with closing(engine.raw_connection()) as raw:
        yield raw.driver_connection


@contextmanager
def of_program(engine: sqlalchemy.Engine) -> Iterator[Any]:
    """A connection that a program has made itself, without SQLAlchemy."""
    arguments, options = engine.dialect.create_connect_args(engine.url)
    driver: Any = engine.dialect.dbapi
    with closing(driver.connect(*arguments, **options)) as connection:
        yield connection


@pytest.fixture(params=[of_session, of_connection, of_driver, of_program])
def connection(request: pytest.FixtureRequest, database: Database, url: str) -> Iterator[Any]:
    """What a program has at hand, with a transaction that it commits itself."""
    engine = sqlalchemy.create_engine(read_url(url))
    with request.param(engine) as made:
        yield made
    engine.dispose()


def rows(database: Database) -> list[QueuedJob]:
    return Outbox(database, "test").claim(100)


def test_a_job_is_there_when_the_transaction_is_committed(
    connection: Any, database: Database
) -> None:
    first = enqueue(connection, "mail", b"\x00\xff%s", priority=5, ttr=7)
    second = schedule_function(connection, "calls", Scheduled("send", delay=60), "ada", kind="x")
    connection.commit()
    assert first is not None
    assert second is not None
    mail, call = rows(database)
    assert (mail.id, mail.tube, mail.payload) == (first, "mail", b"\x00\xff%s")
    assert (mail.priority, mail.ttr_secs, mail.delay) == (5, 7, None)
    assert (call.id, call.tube) == (second, "calls")
    assert json.loads(call.payload or b"")["function"] == "send"
    assert call.delay is not None
    assert 50 < call.delay <= 60


def test_it_is_never_there_when_it_is_rolled_back(connection: Any, database: Database) -> None:
    enqueue(connection, "mail", "x")
    enqueue_many(connection, "mail", ["x", "y"])
    connection.rollback()
    assert rows(database) == []


def test_it_shares_the_fate_of_what_the_caller_writes(
    connection: Any, database: Database, url: str
) -> None:
    def write(name: str) -> None:
        statement: Any = f"INSERT INTO orders (name) VALUES ('{name}')"
        if hasattr(connection, "get_bind") or hasattr(connection, "exec_driver_sql"):
            connection.execute(sqlalchemy.text(statement))
        else:
            with closing(connection.cursor()) as cursor:
                cursor.execute(statement)
        enqueue(connection, "mail", name, unique_key=name)

    def seen() -> list[tuple[str, str]]:
        with database.reading() as reading:
            found = reading.exec_driver_sql(
                "SELECT name, unique_key FROM orders JOIN queued_job ON name = unique_key"
            )
            return [(row[0], row[1]) for row in found]

    with database.transaction() as making:
        making.exec_driver_sql("CREATE TABLE orders (name varchar(20))")
    write("one")
    assert not seen()  # not for others before the commit
    connection.rollback()
    assert not seen()
    write("two")
    connection.commit()
    write("three")
    connection.rollback()
    write("one")  # a key that was rolled back is free
    connection.commit()
    assert sorted(seen()) == [("one", "one"), ("two", "two")]


def test_rows_of_any_shape_give_the_id(database: Database, url: str) -> None:
    if database.dialect is not POSTGRESQL:
        pytest.skip("other databases tell the id without a row")
    engine = sqlalchemy.create_engine(read_url(url))
    with of_program(engine) as connection:
        for factory in (psycopg.rows.dict_row, psycopg.rows.namedtuple_row):
            connection.row_factory = factory
            row_id = enqueue(connection, "mail", "x")
            assert isinstance(row_id, int)
            assert enqueue(connection, "mail", "x", unique_key=f"{row_id}") == row_id + 1
            assert enqueue(connection, "mail", "x", unique_key=f"{row_id}") is None


def test_the_limits_of_a_job_are_in_its_row(connection: Any, database: Database) -> None:
    enqueue(connection, "mail", "x", max_attempts=3, retry_delay=0)
    enqueue(connection, "mail", "x", delay=5, retry_delay=7)
    connection.commit()
    limits = [(each.remaining_retries, each.retry_delay_secs) for each in rows(database)]
    assert limits == [(3, 0), (None, 7)]


def test_an_asynchronous_connection_is_refused() -> None:
    class AsyncConnection:
        cursor = commit = psycopg.AsyncConnection.commit

    AsyncConnection.__module__ = "psycopg"
    with pytest.raises(InvalidArgument, match=r"not on psycopg.*AsyncConnection"):
        enqueue(AsyncConnection(), "mail", "x")


def test_a_key_lets_one_row_wait_at_a_time(connection: Any, database: Database) -> None:
    first = enqueue(connection, "mail", "x", unique_key="daily")
    assert enqueue(connection, "mail", "y", unique_key="daily") is None
    assert enqueue(connection, "mail", "y", unique_key="other") is not None  # nothing is broken
    connection.commit()
    assert [row.id for row in rows(database)][:1] == [first]
    assert rows(database) == []


def test_of_two_programs_with_one_key_one_inserts_a_row(database: Database, url: str) -> None:
    """The second one waits for the first one, and goes by how that ends."""
    engine = sqlalchemy.create_engine(read_url(url))
    inserted: list[int | None] = []

    def other() -> None:
        with engine.connect() as connection:
            if database.dialect is SQLITE:  # which would wait only 5 s, on a busy machine
                connection.exec_driver_sql("PRAGMA busy_timeout = 60000")
            inserted.append(enqueue(connection, "mail", "theirs", unique_key="daily"))
            connection.commit()

    for commits in (False, True):
        with engine.connect() as connection:
            assert enqueue(connection, "mail", "ours", unique_key="daily") is not None
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(0.05)
            assert thread.is_alive(), "it did not wait"
            if commits:
                connection.commit()
            else:
                connection.rollback()
        thread.join(60)
        assert (inserted[-1] is None) == commits
        (row,) = rows(database)
        assert row.payload == (b"ours" if commits else b"theirs")
        with database.transaction() as cleaning:
            cleaning.exec_driver_sql("DELETE FROM queued_job")
    engine.dispose()


async def test_a_key_is_free_as_soon_as_its_row_is_sent(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    """Many programs insert the same few keys while a relay sends them: none is refused or lost."""
    engine = sqlalchemy.create_engine(read_url(url))
    if database.dialect is SQLITE:
        engine = sqlalchemy.create_engine(read_url(url), connect_args={"timeout": 60})
    inserted: list[int] = []

    def produce() -> None:
        for number in range(40):
            try:
                with engine.begin() as connection:
                    row_id = enqueue(connection, "mail", "x", unique_key=f"key {number % 3}")
            except sqlalchemy.exc.OperationalError as error:
                if not is_temporary(error):
                    raise
                continue  # after a deadlock, the program may repeat it
            if row_id is not None:
                inserted.append(row_id)

    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client)
        running = asyncio.create_task(relay.run())
        await asyncio.gather(*(asyncio.to_thread(produce) for _ in range(4)))
        await until(lambda: relay.counts["sent"] == len(inserted))
        relay.stop()
        await running
    assert len(set(inserted)) == len(inserted) >= 3
    assert states(database) == {"sent": len(inserted)}
    engine.dispose()


def test_many_are_inserted_in_order(connection: Any, database: Database) -> None:
    assert enqueue_many(connection, "mail", (f"job {n}" for n in range(50)), delay=100) == 50
    assert enqueue_many(connection, "mail", []) == 0
    connection.commit()
    found = rows(database)
    assert [row.payload for row in found] == [b"job %d" % n for n in range(50)]
    assert all(row.delay is not None and 90 < row.delay <= 100 for row in found)


def test_a_time_is_the_same_in_every_zone(connection: Any, database: Database) -> None:
    zone = timezone(timedelta(hours=-7))
    when = datetime.now(zone) + timedelta(hours=1)
    enqueue(connection, "mail", "x", not_before=when)
    connection.commit()
    (row,) = rows(database)
    assert row.delay is not None
    assert 3500 < row.delay <= 3600


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 3, 29, 0, 59, 30, tzinfo=timezone.utc),  # the clock is about to be put on
        datetime(2026, 7, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc),
        datetime(2026, 10, 25, 0, 59, 30, tzinfo=timezone.utc),  # to be put back
    ],
)
def test_a_delay_may_go_across_the_change_to_summer_time(
    database: Database, url: str, now: datetime
) -> None:
    if database.dialect is not MYSQL:
        pytest.skip("other databases count in universal time")
    engine = sqlalchemy.create_engine(read_url(url))
    with of_program(engine) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT @@session.time_zone, @@system_time_zone")
        assert cursor.fetchone() == ("SYSTEM", "CET")
        cursor.execute(f"SET timestamp = {now.timestamp()}")
        enqueue(connection, "mail", "x", delay=7200)
        cursor.execute("SELECT UNIX_TIMESTAMP(not_before) - UNIX_TIMESTAMP() FROM queued_job")
        (delay,) = cursor.fetchone()
        assert 7200 <= delay < 7201
        connection.commit()
    with database.transaction() as own:  # what the relay does
        own.exec_driver_sql(f"SET timestamp = {now.timestamp()}")
        later = database.dialect.later("120")
        seconds = f"SELECT {database.dialect.seconds_until('not_before')} FROM queued_job"
        assert 7199 < float(own.exec_driver_sql(seconds).scalar_one()) <= 7200.5
        until = own.exec_driver_sql(
            f"SELECT UNIX_TIMESTAMP({later}) - UNIX_TIMESTAMP()"
        ).scalar_one()
        assert 120 <= float(until or 0) < 121


def test_a_time_after_those_of_mysql_is_refused(database: Database, url: str) -> None:
    if database.dialect is not MYSQL:
        pytest.skip("other databases have later times")
    engine = sqlalchemy.create_engine(read_url(url))
    late = datetime(2100, 1, 1, tzinfo=timezone.utc)
    with of_program(engine) as connection:
        with pytest.raises(InvalidArgument, match="end in January 2038"):
            enqueue(connection, "mail", "x", not_before=late)
        with pytest.raises(InvalidArgument, match="end in January 2038"):
            enqueue_many(connection, "mail", ["x"], delay=2**32 - 1)


class AnyConnection:
    """Stand for a connection of a driver that is not known."""

    def cursor(self) -> None:
        raise AssertionError("nothing may be executed")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("-x", "p"), {}, "bad tube name"),
        (("t", 5), {}, "bytes-like or a str"),
        (("t", "p"), {"priority": -1}, "priority"),
        (("t", "p"), {"ttr": 1.5}, "ttr"),
        (("t", "p"), {"delay": -1}, "delay"),
        (("t", "p"), {"unique_key": ""}, "unique_key"),
        (("t", "p"), {"unique_key": "x" * 256}, "unique_key"),
        (("t", "p"), {"unique_key": 7}, "unique_key"),
        (("t", "p"), {"max_attempts": 0}, "max_attempts must be at least 1"),
        (("t", "p"), {"max_attempts": 2**31}, "max_attempts"),
        (("t", "p"), {"retry_delay": -1}, "retry_delay"),
        (("t", "p"), {}, "AnyConnection"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_executed(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        enqueue(AnyConnection(), *arguments, **options)


def test_a_time_must_have_a_zone_and_be_alone(tmp_path: Any) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'x'}")
    with engine.connect() as connection:
        with pytest.raises(InvalidArgument, match="time zone"):
            enqueue(connection, "t", "p", not_before=datetime(2030, 1, 1))
        with pytest.raises(InvalidArgument, match="either a delay or"):
            enqueue(connection, "t", "p", delay=1, not_before=datetime.now(timezone.utc))
    engine.dispose()


def test_an_async_session_is_told_to_use_run_sync() -> None:
    class AsyncSession:
        def get_bind(self) -> None: ...

        async def execute(self) -> None: ...

        async def run_sync(self) -> None: ...

    with pytest.raises(InvalidArgument, match="run_sync"):
        enqueue(AsyncSession(), "t", "p")
