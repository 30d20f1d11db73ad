"""The relay between each kind of database and a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from beanstalkt import Client
from beanstalkt.sql.database import Database
from beanstalkt.sql.dialect import POSTGRESQL
from beanstalkt.sql.outbox import Outbox, Settled
from beanstalkt.sql.relay import Relay, RelayTiming
from beanstalkt.sql.rows import QueuedJob
from beanstalkt.worker.outbox_id import Carried, unwrap

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.outbox import FAST, events, insert, insert_many, relay_of, row, states
from ..support.waiting import until


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        relay.stop()
        await asyncio.wait_for(task, 20)


async def bodies(client: Client, tube: str = "t") -> list[bytes]:
    """The bodies of all ready jobs, in their order."""
    await client.watch(tube)
    found = []
    async for job in client.jobs(timeout=0):
        found.append(job.body)
        await job.delete()
    return found


async def test_rows_become_jobs_and_say_so(database: Database, beanstalkd: Beanstalkd) -> None:
    plain = insert(database, payload=b"\x00any", tube="t", priority=7, ttr_secs=9, unique_key="k")
    request = insert(database, url="http://example.com/", body="x", timeout_secs=120)
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client, burst=True, tube="requests")
        await relay.run()
        await client.watch("t")
        job = await client.reserve(0)
        assert unwrap(job.body) == (Carried(plain), b"\x00any")
        stats = await job.stats()
        assert (stats["pri"], stats["ttr"]) == (7, 9)
        await client.watch("requests")
        other = await client.reserve(0)
        assert json.loads(other.body)["outbox_id"] == request
        found = row(database, plain)
        assert (found["state"], found["sends"], found["unique_key"]) == ("sent", 1, None)
        assert (found["server"], found["beanstalk_job_id"]) == ("one", job.id)
        assert found["server_run"] == (await client.stats())["id"]
        assert found["sent_at"] is not None
        assert found["claimed_by"] is found["claimed_until"] is None
    (event,) = events(database, plain)
    assert (event["event"], event["tube"], event["beanstalk_job_id"]) == ("sent", "t", job.id)
    assert relay.counts == {"sent": 2}


async def test_order_holds_over_many_batches(database: Database, beanstalkd: Beanstalkd) -> None:
    insert_many(database, 530)
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True, batch=100).run()
        found = await bodies(client)
    assert [unwrap(body)[1] for body in found] == [b"job %d" % n for n in range(530)]
    ids = [unwrap(body)[0].outbox_id or 0 for body in found]
    assert ids == sorted(ids)


async def test_rows_that_come_later_are_relayed_until_it_is_stopped(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    async with client_of(beanstalkd) as client:
        async with running(relay_of(database, client)):
            for count in (1, 2):
                insert(database, payload=b"x", tube="t")
                await until(lambda: states(database)["sent"] == count)  # noqa: B023
        insert(database, payload=b"x", tube="t")
        assert states(database) == {"sent": 2, "new": 1}


async def test_a_time_in_the_future_becomes_a_delay(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    later = database.dialect.later("3600")
    with database.transaction() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO queued_job (payload, tube, not_before) VALUES ('x', 't', {later})"
        )
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True).run()
        stats = await (await client.peek_delayed(tube="t")).stats()
        assert 3500 < stats["delay"] <= 3600


async def test_what_cannot_be_put_fails_and_the_rest_goes_on(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    wrong = {
        insert(database, payload=b"x", tube="-bad"): "bad tube name",
        insert(database, payload=b"x", priority=-1): "priority must be",
        insert(database, payload=b"x" * 70_000, tube="t"): "70000 bytes, and the server",
        insert(database, url="http://x/", headers="{"): "headers is not JSON",
    }
    right = insert(database, payload=b"x", tube="t")
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True).run()
    for row_id, message in wrong.items():
        found = row(database, row_id)
        assert (found["state"], found["sends"]) == ("failed", 0)
        assert message in found["last_error"]
        assert "put_many" not in found["last_error"]
        assert [event["event"] for event in events(database, row_id)] == ["failed"]
    assert row(database, right)["state"] == "sent"


async def test_a_time_that_a_driver_cannot_read_fails_alone(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    if database.dialect is not POSTGRESQL:
        pytest.skip("other databases have no endless time")
    for time in ("infinity", "-infinity"):
        insert(database, payload=b"x", tube="t", not_before=time)
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True).run()
    assert states(database) == {"failed": 1, "sent": 1}


def test_what_is_too_long_is_not_even_sent_by_the_database(database: Database) -> None:
    insert(database, payload=b"\0" * 100)
    insert(database, url="x" * 60, body="x" * 50)
    insert(database, payload=b"\0" * 99)
    found = Outbox(database, "relay").claim(3, max_size=99)
    assert [(each.size, each.payload, each.url) for each in found] == [
        (100, None, None),
        (110, None, None),
        (99, b"\0" * 99, None),
    ]


async def test_a_draining_server_loses_nothing(database: Database, beanstalkd: Beanstalkd) -> None:
    insert_many(database, 20)
    beanstalkd.signal(signal.SIGUSR1)
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client, batch=10)
        async with running(relay):
            await until(lambda: relay.counts["new"] >= 40)
            assert states(database).keys() <= {"new", "claimed"}
            beanstalkd.restart()
            await until(lambda: states(database)["sent"] == 20)
        assert len(await bodies(client)) == 20


async def test_nothing_is_claimed_while_the_server_is_away(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    async with client_of(beanstalkd) as client, running(relay_of(database, client)):
        beanstalkd.kill()
        await until(client.closed)
        insert_many(database, 3)
        await asyncio.sleep(0.1)
        assert states(database) == {"new": 3}
        beanstalkd.start()
        await until(lambda: states(database)["sent"] == 3)


@pytest.mark.parametrize(("on_doubt", "state"), [("again", "new"), ("park", "in doubt")])
async def test_own_claims_are_taken_back_at_the_start_and_expired_ones_always(
    database: Database, beanstalkd: Beanstalkd, on_doubt: str, state: str
) -> None:
    insert_many(database, 3)
    assert len(Outbox(database, "relay").claim(1)) == 1  # left by an earlier process
    assert len(Outbox(database, "other", claim_seconds=-1).claim(1)) == 1
    assert len(Outbox(database, "alive").claim(1)) == 1
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True, on_doubt=on_doubt).run()
    expected = {"sent": 2} if state == "new" else {"in doubt": 2}
    assert states(database) == {"claimed": 1, **expected}


def test_only_what_is_still_claimed_is_marked(database: Database) -> None:
    insert_many(database, 2)
    mine = Outbox(database, "mine", claim_seconds=-1)
    first, second = mine.claim(2)
    other = Outbox(database, "other")
    assert [each.id for each in other.claim(1, expired=True)] == [first.id]
    rows = [(each.id, each.id, "t") for each in (first, second)]
    assert mine.settle([Settled("sent", rows, "one", "run")]) == 0
    assert row(database, first.id)["claimed_by"] == "other"
    assert row(database, second.id)["state"] == "new"


async def test_two_relays_put_no_row_twice(database: Database, beanstalkd: Beanstalkd) -> None:
    insert_many(database, 600)
    async with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        relays = [
            relay_of(database, client, "one", burst=True, batch=20),
            relay_of(database, other, "two", burst=True, batch=20),
        ]
        await asyncio.gather(*(relay.run() for relay in relays))
        assert sum(relay.counts["sent"] for relay in relays) == 600
        found = [unwrap(body)[0].outbox_id for body in await bodies(client)]
    assert len(found) == len(set(found)) == 600


async def test_a_table_that_is_missing_ends_the_relay(url: str, beanstalkd: Beanstalkd) -> None:
    with closing(Database(url)) as empty:
        async with client_of(beanstalkd) as client:
            with pytest.raises(DBAPIError, match="queued_job"):
                await relay_of(empty, client, burst=True).run()


@pytest.mark.parametrize("database_server", ["sqlite"], indirect=True)
async def test_a_text_that_is_no_text_fails_alone(
    database: Database, beanstalkd: Beanstalkd, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite stores it, and then refuses to read any row along with it."""
    bad = "CAST(x'68ff' AS text)"
    for column in ("url", "http_method", "headers", "body", "tube", "priority", "not_before"):
        columns = {"url": "'http://example.com/'", column: bad}
        with database.transaction() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO queued_job ({', '.join(columns)}) VALUES "
                f"({', '.join(columns.values())})"
            )
    with database.transaction() as connection:
        for bad in ("x'68ff'", "1.5", "9e999"):
            connection.exec_driver_sql(
                f"INSERT INTO queued_job (payload, tube) VALUES ('x', {bad})"
            )
    good = insert(database, payload=b"good", tube="t")
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True).run()
        assert len(await bodies(client)) == 1
    assert states(database) == {"failed": 8, "sent": 3}
    assert row(database, good)["state"] == "sent"
    assert "cannot be sent as UTF-8" in caplog.text


async def test_it_stops_in_time_while_the_database_hangs(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    insert_many(database, 1)
    hangs, thawed = threading.Event(), threading.Event()

    class Frozen(Outbox):
        def claim(self, *arguments: Any, **options: Any) -> list[QueuedJob]:
            hangs.set()
            thawed.wait(20)
            return []

    own = Database(database.engine.url.render_as_string(hide_password=False))
    async with client_of(beanstalkd) as client:
        timing = RelayTiming(stop_timeout=0.2)
        relay = Relay(Frozen(own, "relay"), client, "one", timing=timing)
        task = asyncio.create_task(relay.run())
        await until(hangs.is_set)
        relay.stop()
        with pytest.raises(TimeoutError, match="did not answer in time"):
            await asyncio.wait_for(task, 10)
        thawed.set()


async def test_an_error_that_may_pass_is_waited_for(
    database: Database, beanstalkd: Beanstalkd, caplog: pytest.LogCaptureFixture
) -> None:
    """Above all: what was put is marked once the database is back, and not put again."""
    insert_many(database, 3)
    failures = 3

    class Failing(Outbox):
        def claim(self, *arguments: Any, **options: Any) -> list[QueuedJob]:
            nonlocal failures
            if options["settled"]:
                failures -= 1
                if failures >= 0:
                    raise OperationalError("UPDATE", {}, Exception("deadlock"))
            return super().claim(*arguments, **options)

    own = Database(database.engine.url.render_as_string(hide_password=False))
    async with client_of(beanstalkd) as client:
        await Relay(Failing(own, "relay"), client, "one", burst=True, timing=FAST).run()
        assert len(await bodies(client)) == 3
    assert states(database) == {"sent": 3}
    assert caplog.messages.count("the database: deadlock") == 1


async def test_what_was_put_is_marked_though_the_claim_after_it_fails_for_good(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    insert_many(database, 20)

    class Failing(Outbox):
        def _claim(self, connection: Connection, limit: int, max_size: int) -> Sequence[Any]:
            if len(self._held) >= 10:
                raise ProgrammingError("SELECT", {}, Exception("a column is missing"))
            return super()._claim(connection, limit, max_size)

    own = Database(database.engine.url.render_as_string(hide_password=False))
    async with client_of(beanstalkd) as client:
        with pytest.raises(ProgrammingError, match="a column is missing"):
            await Relay(Failing(own, "relay"), client, "one", batch=10, timing=FAST).run()
        put = len(await bodies(client))
    assert 0 < put == states(database)["sent"]
