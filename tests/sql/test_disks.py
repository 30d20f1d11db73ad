"""A database that is read-only, or whose disk is full: nothing is lost, or put twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from beanstalkt import Client
from beanstalkt.sql.database import Database
from beanstalkt.sql.history import History
from beanstalkt.sql.migrations import migrate
from beanstalkt.worker.events import JobStarted
from beanstalkt.worker.outbox_id import unwrap

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.databases import DatabaseServer, SQLite
from ..support.disks import Full, ReadOnly, Trouble
from ..support.outbox import events, relay_of, states
from ..support.waiting import until

ROWS = 300


@pytest.fixture(params=[ReadOnly, Full], ids=["read-only", "full"])
def trouble(
    request: pytest.FixtureRequest, database_server: DatabaseServer | SQLite
) -> Iterator[Trouble]:
    with ExitStack() as stack:
        made: Trouble = request.param(database_server, stack)
        stack.callback(made.end)
        yield made


@pytest.fixture
def own(trouble: Trouble) -> Iterator[Database]:
    """The database that will have the trouble, with the tables."""
    with closing(Database(trouble.url)) as made:
        migrate(made)
        yield made


class Hooked:
    """A client that calls a function after its first puts, before their answers are told."""

    def __init__(self, client: Client, hook: Callable[[], None]) -> None:
        self._client = client
        self._hook: Callable[[], None] | None = hook

    def __getattr__(self, name: str) -> Any:
        if name == "clients":  # which a pool has
            raise AttributeError(name)
        return getattr(self._client, name)

    async def put_many(self, *arguments: Any, **options: Any) -> list[int]:
        ids = await self._client.put_many(*arguments, **options)
        hook, self._hook = self._hook, None
        if hook is not None:
            hook()
        return ids


async def test_a_relay_marks_what_it_has_put_once_the_database_takes_it(
    trouble: Trouble, own: Database, beanstalkd: Beanstalkd, caplog: pytest.LogCaptureFixture
) -> None:
    payload = "x" * 2000  # so that rows which are changed need room
    with own.transaction() as connection:
        for _ in range(ROWS):
            connection.exec_driver_sql(
                f"INSERT INTO queued_job (payload, tube) VALUES ('{payload}', 't')"
            )
    async with client_of(beanstalkd) as client:
        relay = relay_of(own, Hooked(client, trouble.begin), burst=True)  # type: ignore[arg-type]
        trouble.prepare(relay._outbox.database)
        running = asyncio.create_task(relay.run())
        await until(lambda: re.search(trouble.said, caplog.text))
        assert not running.done()
        trouble.end()
        await asyncio.wait_for(running, 60)
        await client.watch("t")
        found = [unwrap(job.body)[0].outbox_id async for job in client.jobs(timeout=0)]
    assert states(own) == {"sent": ROWS}
    assert len(found) == len(set(found)) == ROWS, "lost, or put twice"


async def test_a_history_keeps_its_events_until_the_database_takes_them(
    trouble: Trouble, own: Database
) -> None:
    history = History(trouble.url)
    trouble.prepare(history._writer._database)
    async with history:
        trouble.begin()
        for number in range(3000):
            history(JobStarted("beanstalk://" + "s" * 240, "t" * 200, number, 1, 1))
        await until(lambda: re.search(trouble.said, history._writer.trouble))
        assert history.dropped == 0
        trouble.end()
        await until(lambda: history.written == 3000)
    assert history.dropped == 0
    assert len(events(own)) == 3000
