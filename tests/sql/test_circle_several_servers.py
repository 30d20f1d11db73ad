"""The whole circle over several servers: one of them, and its disk, is destroyed on the way."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from beanstalkt import Worker, WorkerJob
from beanstalkt.sql import upkeep
from beanstalkt.sql.database import Database
from beanstalkt.sql.history import History

from ..support.beanstalkd import Beanstalkd
from ..support.outbox import insert_many, relay_of, states
from ..support.several import pool_of, urls_of
from ..support.waiting import until

ROWS = 600


def unfinished(database: Database) -> Counter[tuple[str, str | None]]:
    """Return how many rows are not done, by their states and servers."""
    with database.reading() as connection:
        found = connection.execute(
            text("SELECT state, server FROM queued_job WHERE state <> 'done'")
        )
        return Counter((state, server) for state, server in found)


@pytest.mark.gen_test(timeout=100)
@pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)
async def test_a_destroyed_server_costs_no_row(
    database: Database, url: str, tmp_path: Path, patient: None
) -> None:
    servers: dict[str, Beanstalkd] = {}
    for name in "abc":
        (tmp_path / name).mkdir()
        servers[name] = Beanstalkd("-b", str(tmp_path / name))
        servers[name].start()
    done: Counter[int | None] = Counter()
    slow = True

    async def handler(job: WorkerJob) -> None:
        if slow:
            await asyncio.sleep(0.02)
        done[job.outbox_id] += 1

    try:
        insert_many(database, ROWS)
        async with pool_of(servers) as pool, History(url) as history:
            relay = relay_of(database, pool)  # type: ignore[arg-type]  # it takes both
            relaying = asyncio.ensure_future(relay.run())
            worker = Worker(urls_of(servers), "t", handler, concurrency=10, observers=[history])
            working = asyncio.ensure_future(worker.run(signals=False))
            await until(lambda: len(done) > 50 and states(database)["sent"] > 300)
            servers["b"].kill()
            shutil.rmtree(tmp_path / "b")
            slow = False
            # All is done but what the lost server had.
            await until(lambda: unfinished(database).keys() == {("sent", "b")}, timeout=40)
            left = states(database)["sent"]
            assert 0 < left < ROWS
            assert sum(upkeep.resend(database, server="b")) == left
            await until(lambda: states(database)["done"] == ROWS, timeout=40)
            relay.stop()
            # The second time: some jobs were done when their server was lost, and wait for it.
            worker.stop()
            worker.stop()
            await asyncio.gather(relaying, working)
        assert len(done) == ROWS
        with database.reading() as connection:
            found = connection.execute(text("SELECT DISTINCT server FROM queued_job_log"))
            assert set(found.scalars()) == {"a", "b", "c"}, "relay and runner use the same names"
    finally:
        for server in servers.values():
            server.stop()
