"""A relay that is woken by PostgreSQL, also after its connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from beanstalkt.sql import listening
from beanstalkt.sql.database import Database
from beanstalkt.sql.migrations import notify
from beanstalkt.sql.relay import RelayTiming

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.outbox import insert, relay_of, states
from ..support.waiting import until

pytestmark = pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)

NEVER = RelayTiming(poll=3600, max_poll=3600)
"""A relay that does not look at the table by itself again."""


@asynccontextmanager
async def listening_to(url: str, heard: list[None]) -> AsyncIterator[None]:
    task = asyncio.create_task(listening.listen(url, lambda: heard.append(None), retry=0.05))
    try:
        await until(lambda: heard)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_row_is_put_as_soon_as_its_transaction_is_committed(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    notify(database)
    notify(database)  # it may be repeated
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client, timing=NEVER)
        running = asyncio.create_task(relay.run())
        listener = asyncio.create_task(listening.listen(url, relay.wake))
        for count in (1, 2):
            insert(database, payload=b"x", tube="t")
            await until(lambda: states(database)["sent"] == count)  # noqa: B023
        relay.stop()
        await running
        listener.cancel()
        await asyncio.wait([listener])


async def test_a_connection_that_is_lost_is_made_again(database: Database, url: str) -> None:
    notify(database)
    heard: list[None] = []
    async with listening_to(url, heard):
        before = len(heard)
        with database.transaction() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await until(lambda: len(heard) >= before + 2)  # of the loss, and of the new connection
        before = len(heard)
        insert(database, payload=b"x")
        await until(lambda: len(heard) > before)
