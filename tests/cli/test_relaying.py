"""A relay that gets signals: it says what it waits for, and ends at once when it gets another."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import Client, Pool
from beanstalkt.cli import relaying
from beanstalkt.cli.exit_status import DONE, INTERRUPTED, NO_SERVER
from beanstalkt.cli.relaying import Stopping
from beanstalkt.sql.database import Database
from beanstalkt.sql.migrations import migrate

from ..support import program
from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.outbox import insert_many, relay_of, row, states
from ..support.waiting import until


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'jobs.db'}")) as made:
        migrate(made)
        yield made


@pytest.mark.parametrize(("signals", "status"), [(1, NO_SERVER), (2, INTERRUPTED)])
@pytest.mark.parametrize("several", [False, True])
async def test_a_frozen_server_is_not_waited_for_long(
    database: Database,
    beanstalkd: Beanstalkd,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    signals: int,
    status: int,
    several: bool,
) -> None:
    monkeypatch.setattr(relaying, "TELL_AFTER", 0.0)
    monkeypatch.setattr(relaying, "STOP_TIMEOUT", 3600.0 if signals == 2 else 0.3)
    async with AsyncExitStack() as stack:
        client: Client | Pool = client_of(beanstalkd, response_timeout=3600)
        if several:
            client = Pool([f"a={beanstalkd.url}"], response_timeout=3600)
        await stack.enter_async_context(client)
        relay = relay_of(database, client, on_doubt="park")  # type: ignore[arg-type]
        stopping = Stopping(relay, client)
        running = asyncio.create_task(relay.run())
        await until(lambda: relay._putter.max_size is not None)
        beanstalkd.freeze()
        try:
            insert_many(database, 3)
            await until(lambda: "for 3 jobs" in relay.waits_for)
            for _ in range(signals):
                stopping.signalled()
                await until(lambda: "waits for the server to answer" in capsys.readouterr().err)
                if signals == 2:
                    stopping.signalled()
                    break
            await asyncio.wait_for(running, 20)
        finally:
            beanstalkd.thaw()
        stopping.close()
    assert stopping.status == status
    # Nobody knows whether the server has them: they are parked, and never lost.
    assert states(database) == {"in doubt": 3}
    assert "not known whether" in row(database, 1)["last_error"]


async def test_a_relay_without_work_ends_at_once_and_says_nothing(
    database: Database, beanstalkd: Beanstalkd, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client)
        stopping = Stopping(relay, client)
        running = asyncio.create_task(relay.run())
        await until(lambda: relay._putter.max_size is not None)
        stopping.signalled()
        await asyncio.wait_for(running, 20)
        stopping.close()
        assert not client.closed()
    assert stopping.status == DONE
    assert "stopping" not in capsys.readouterr().err


async def test_a_database_that_hangs_as_well_keeps_nobody(
    database: Database, beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_many(database, 1)
    async with client_of(beanstalkd) as client:
        relay = relay_of(database, client)
        stopping = Stopping(relay, client)
        with database.transaction():  # which nobody else can write into
            running = asyncio.create_task(relay.run())
            await until(lambda: relay.waits_for == "the database")
            stopping.signalled()
            stopping.signalled()
            with pytest.raises(TimeoutError, match="did not answer in time"):
                await asyncio.wait_for(running, 5)
        stopping.close()
    await until(lambda: states(database)["new"] + states(database)["claimed"] == 1)


async def test_the_process_ends_at_the_second_interrupt(
    database: Database, beanstalkd: Beanstalkd
) -> None:
    url = database.engine.url.render_as_string()
    words = ["-m", "beanstalkt", "outbox", "relay", "--database", url, "--server", beanstalkd.url]
    environment: dict[str, Any] = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = program.start(*words, "--name", "it", stderr=-1, env=environment)
    assert process.stderr is not None
    try:
        assert b"relaying" in process.stderr.readline()
        insert_many(database, 1)
        await until(lambda: states(database)["sent"] == 1)
        beanstalkd.freeze()
        insert_many(database, 3)
        await until(lambda: states(database)["claimed"] == 3)
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        assert b"stopping: it waits for the server" in said, said
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert b"rows: " in process.stderr.read()
    finally:
        beanstalkd.thaw()
        process.kill()
        process.wait()
        process.stderr.close()
    assert states(database) == {"sent": 1, "new": 3}


@pytest.mark.parametrize(("signals", "status"), [(1, NO_SERVER), (2, INTERRUPTED)])
def test_the_process_does_not_wait_for_a_database_that_hangs(
    database: Database, beanstalkd: Beanstalkd, signals: int, status: int
) -> None:
    url = database.engine.url.render_as_string()
    words = ["-m", "beanstalkt", "outbox", "relay", "--database", url, "--server", beanstalkd.url]
    environment: dict[str, Any] = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        database.transaction(),  # which nobody else can write into: they wait for 10 s
        program.start(*words, "--name", "it", stderr=-1, env=environment) as process,
    ):
        assert process.stderr is not None
        try:
            assert b"relaying" in process.stderr.readline()
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            said = process.stderr.readline()
            assert b"stopping: it waits for the database" in said, said
            if signals == 2:
                process.send_signal(signal.SIGINT)
            assert process.wait(20) == status
            assert time.monotonic() - began < 9
            assert b"did not answer in time" in process.stderr.read()
        finally:
            process.kill()
