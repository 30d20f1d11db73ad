"""What may go wrong around a relay, for real: kills, restarts, freezes, clocks, deadlocks."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from beanstalkt import Client
from beanstalkt.sql import upkeep
from beanstalkt.sql.database import Database, is_temporary
from beanstalkt.sql.dialect import SQLITE
from beanstalkt.sql.migrations import migrate
from beanstalkt.sql.outbox import Outbox, Settled
from beanstalkt.worker.outbox_id import unwrap

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.databases import DatabaseServer, SQLite
from ..support.outbox import events, insert_many, relay_of, row, states
from ..support.soak import FACTOR
from ..support.waiting import until

ROOT = Path(__file__).parent.parent.parent

ROWS = 400
"""Rows that a relay puts between two kills at the most."""

KILLS = 5 * FACTOR
BATCH = 20


async def row_ids(client: Client) -> Counter[int]:
    """How often the row of each ready job is there; every job names one."""
    await client.watch("t")
    found: Counter[int] = Counter()
    async for job in client.jobs(timeout=0):
        row_id = unwrap(job.body)[0].outbox_id
        assert row_id is not None
        found[row_id] += 1
        await job.delete()
    return found


@pytest.mark.soak
@pytest.mark.gen_test(timeout=60 + 5 * KILLS)
async def test_a_relay_that_is_killed_loses_no_row_and_doubles_one_batch_at_most(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    insert_many(database, KILLS * ROWS)
    seed = str(random.random())
    arguments = [url, beanstalkd.url, str(BATCH), str(KILLS), seed]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.killed_relay", *arguments, cwd=ROOT
    )
    try:
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert states(database) == {"sent": KILLS * ROWS}
    async with client_of(beanstalkd) as client:
        found = await row_ids(client)
    assert len(found) == KILLS * ROWS, "rows were lost"
    doubles = found.total() - len(found)
    assert doubles <= KILLS * BATCH, f"seed {seed}"
    # Twice in the server, once in the table: the history says so.
    logged = Counter(event["job_id"] for event in events(database) if event["event"] == "sent")
    assert set(logged) == set(found)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:unclosed <socket")
@pytest.mark.gen_test(timeout=120 + 10 * KILLS)
async def test_everything_that_may_go_wrong_at_once_loses_no_row(
    database: Database,
    database_server: DatabaseServer | SQLite,
    url: str,
    tmp_path: Path,
) -> None:
    """Two relays that are killed, one with a wrong clock, and servers that drain and restart.

    Meanwhile rows are inserted and rolled back, and the tables are migrated and cleaned.
    """
    (tmp_path / "binlog").mkdir()
    server = Beanstalkd("-b", str(tmp_path / "binlog"))
    server.start()
    seed = str(random.random())
    relays = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.killed_relay", url, server.url),
            *(str(BATCH), str(KILLS), seed + name, name, "0.6", skew),
            cwd=ROOT,
        )
        for name, skew in (("one", "0"), ("two", "3600"))
    ]
    try:
        inserted = await _disturb(database, database_server, server, relays)
        for relay in relays:
            assert await relay.wait() == 0
        async with client_of(server) as client:
            # What a relay may have left that was killed in the end, or came after its end.
            await relay_of(database, client, "one", burst=True).run()
            await relay_of(database, client, "two", burst=True).run()
            found = await row_ids(client)
    finally:
        for relay in relays:
            if relay.returncode is None:
                relay.kill()
                await relay.wait()
        server.kill()
    assert states(database) == {"sent": inserted}, f"seed {seed}"
    assert len(found) == inserted, f"rows were lost: seed {seed}"
    doubles = found.total() - len(found)
    assert doubles <= (2 * KILLS + 2 * RESTARTS) * BATCH, f"seed {seed}"
    gc.collect()


RESTARTS = 2
"""How often each server is restarted while all goes wrong."""


async def _disturb(
    database: Database,
    database_server: DatabaseServer | SQLite,
    server: Beanstalkd,
    relays: list[asyncio.subprocess.Process],
) -> int:
    """Disturb relays until they have ended; return the number of rows that were committed."""
    inserted = restarts = turn = 0
    while any(relay.returncode is None for relay in relays):
        turn += 1
        try:
            if inserted < KILLS * ROWS:
                insert_many(database, 50)
                inserted += 50
            _roll_back(database)
            assert not migrate(database)
            assert not sum(upkeep.clean(database, 0, states=("done", "failed")))
            list(upkeep.clean_log(database, 3600))
            upkeep.status(database)
        except DBAPIError as error:
            if not is_temporary(error):
                raise
        if restarts < RESTARTS and turn % 8 == 0:
            restarts += 1
            server.signal(signal.SIGUSR1)  # it drains
            insert_many(database, 50)
            inserted += 50
            await asyncio.sleep(0.15)
            if isinstance(database_server, DatabaseServer):
                database.close()
                database_server.stop(9)
                database_server.start()
            server.restart(signal.SIGTERM)
        await asyncio.sleep(0.05)
    return inserted


def _roll_back(database: Database) -> None:
    """Insert a row that is never committed."""
    insert = text("INSERT INTO queued_job (payload, tube) VALUES ('x', 'never')")
    with database.reading() as connection:
        connection.execute(insert)
        connection.rollback()


# PyMySQL leaves its socket to the garbage collector when it cannot connect.
@pytest.mark.filterwarnings("ignore:unclosed <socket")
async def test_a_database_that_is_killed_in_the_middle_loses_nothing(
    database: Database, database_server: DatabaseServer | SQLite, beanstalkd: Beanstalkd
) -> None:
    if isinstance(database_server, SQLite):
        pytest.skip("there is no server to kill")
    insert_many(database, 2000)
    database.close()
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client, batch=10)
        task = asyncio.create_task(relay.run())
        for count in (50, 400):
            await until(lambda: relay.counts["sent"] >= count)  # noqa: B023
            database_server.stop(9)
            await asyncio.sleep(0.1)
            database_server.start()
        await until(lambda: relay.counts["sent"] >= 2000)
        relay.stop()
        await task
        found = await row_ids(client)
    assert states(database) == {"sent": 2000}
    assert len(found) == found.total() == 2000, "lost, or put twice without a kill of the relay"
    gc.collect()


async def test_a_claim_whose_answer_was_lost_is_not_left_behind(
    database: Database,
    beanstalkd: Beanstalkd,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    insert_many(database, 30)
    transaction, count = Database.transaction, 0

    @contextmanager
    def lose(database: Database) -> Iterator[Connection]:
        nonlocal count
        count += 1
        with transaction(database) as connection:
            yield connection
        if count in (2, 5):  # a claim alone, and one with marks
            raise DBAPIError("COMMIT", {}, Exception("gone"), connection_invalidated=True)

    monkeypatch.setattr(Database, "transaction", lose)
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, batch=10, burst=True).run()
        found = await row_ids(client)
    assert len(found) == found.total() == 30
    assert states(database) == {"sent": 30}
    assert "gone" in caplog.text
    assert "may be put twice" not in caplog.text


@pytest.mark.parametrize("again", [False, True])
def test_rows_that_another_relay_has_taken_are_told(
    database: Database, caplog: pytest.LogCaptureFixture, again: bool
) -> None:
    """Also when the answer to the transaction before this one was lost."""
    insert_many(database, 3)
    outbox = Outbox(database, "one", claim_seconds=-1)
    rows = outbox.claim(3)
    assert len(Outbox(database, "two").claim(2, expired=True)) == 2
    outbox._unsure = again
    sent = [(each.id, 100 + each.id, each.tube) for each in rows]
    assert outbox.settle([Settled("sent", sent, "one", "run", event="e")]) == 0
    assert "3 rows were no longer claimed" in caplog.text
    caplog.clear()
    (left,) = Outbox(database, "two").claim(3)
    marked = Settled("sent", [(left.id, 7, left.tube)], "one", event="f")
    assert Outbox(database, "two").settle([marked]) == 1
    outbox._unsure = True
    assert outbox.settle([marked]) == 0
    assert "no longer claimed" not in caplog.text


async def test_rows_that_a_frozen_server_may_have_are_in_doubt(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    async with client_of(beanstalkd, response_timeout=1.0) as client:
        relay = relay_of(database, client, on_doubt="park")
        task = asyncio.create_task(relay.run())
        await until(lambda: relay._putter.max_size is not None)  # it has asked the server once
        beanstalkd.freeze()
        try:
            insert_many(database, 3)
            await until(lambda: states(database)["in doubt"] == 3)
        finally:
            beanstalkd.thaw()
        relay.stop()
        await task
    assert "not known whether" in row(database, 1)["last_error"]
    async with client_of(beanstalkd) as client:
        assert (await row_ids(client)).keys() <= {1, 2, 3}  # the server had them, or not


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wrong_clock_of_this_machine_changes_nothing(
    database: Database, beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    if database.dialect is SQLITE:
        pytest.skip("its clock is that of this machine")
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3600 * hours)
    later = database.dialect.later("1800")
    with database.transaction() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO queued_job (payload, tube, not_before) VALUES ('x', 't', {later})"
        )
    insert_many(database, 1)
    assert len(Outbox(database, "other").claim(1)) == 1
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True).run()
        assert states(database) == {"claimed": 1, "sent": 1}  # the other claim has not expired
        assert await row_ids(client) == {2: 1}
    assert row(database, 2)["sent_at"] is not None


async def test_the_loser_of_a_deadlock_may_try_again(database: Database, url: str) -> None:
    if database.dialect is SQLITE:
        pytest.skip("there is one writer at a time")
    insert_many(database, 2)
    both = threading.Barrier(2)
    lost: list[BaseException] = []

    def lock(first: int, second: int) -> None:
        update = text("UPDATE queued_job SET body = 'x' WHERE id = :id")
        with closing(Database(url)) as own:
            try:
                with own.transaction() as connection:
                    connection.execute(update, {"id": first})
                    both.wait(20)
                    connection.execute(update, {"id": second})
            except DBAPIError as error:
                lost.append(error)

    await asyncio.gather(asyncio.to_thread(lock, 1, 2), asyncio.to_thread(lock, 2, 1))
    (error,) = lost
    assert is_temporary(error)
