"""The history in each kind of database, and in one that is frozen, full, read-only or gone."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from beanstalkt.errors import InvalidArgument
from beanstalkt.sql import history as module
from beanstalkt.sql.database import Database
from beanstalkt.sql.dialect import SQLITE
from beanstalkt.sql.history import History
from beanstalkt.sql.migrations import migrate
from beanstalkt.sql.outbox import Outbox, Settled
from beanstalkt.worker.events import HistoryDropped, JobFinished, JobStarted
from beanstalkt.worker.policy.decision import BURY, DELETE, RELEASE, SettleResult
from beanstalkt.worker.policy.outcome import Kind

from ..support.databases import DatabaseServer, SQLite
from ..support.outbox import events, insert, row
from ..support.waiting import until


def started(outbox_id: int | None, job: int = 7) -> JobStarted:
    return JobStarted("beanstalk://s", "t", job, 1, 1, outbox_id=outbox_id, server_run="run")


def finished(outbox_id: int | None, kind: Kind = Kind.SUCCESS, job: int = 7) -> JobFinished:
    action = {Kind.SUCCESS: DELETE, Kind.TEMPORARY_FAIL: RELEASE}.get(kind, BURY)
    done, error = SettleResult.DONE, "" if kind is Kind.SUCCESS else "status 503 \u2603'\0"
    details = {"status": 200 if kind is Kind.SUCCESS else 503, "answer": "one\ntwo"}
    return JobFinished(
        "beanstalk://s", "t", job, 1, kind, action, done, 0.5, error, details, outbox_id, "run", 4
    )


async def test_what_became_of_a_job_is_in_its_row_and_in_the_log(
    database: Database, url: str
) -> None:
    first = insert(database, url="x", state="sent")
    second = insert(database, url="x", state="sent", unique_key="k")
    async with History(url) as history:
        for event in (
            started(first),
            finished(first),
            started(second),
            finished(second, Kind.TEMPORARY_FAIL),
            started(None, 9),
            finished(None, Kind.PERMANENT_FAIL, 9),
        ):
            history(event)
    assert (history.written, history.dropped) == (6, 0)
    done, again = row(database, first), row(database, second)
    assert (done["state"], done["result_code"], done["http_status"]) == ("done", 0, 200)
    assert (done["last_response"], done["last_error"]) == ("one\ntwo", None)
    assert done["last_started_at"] is not None
    assert done["last_finished_at"] is not None
    assert (again["state"], again["result_code"], again["http_status"]) == ("sent", 2, 503)
    assert (again["remaining_retries"], again["unique_key"]) == (4, None)
    assert again["last_error"] == "status 503 \u2603'\\0"
    names = [each["event"] for each in events(database)]
    assert names == ["started", "finished", "started", "released", "started", "buried"]
    assert events(database)[-1]["beanstalk_job_id"] == 9
    assert [each["duration_ms"] for each in events(database, first)] == [None, 500]


async def test_a_job_may_finish_before_the_relay_has_marked_its_row(
    database: Database, url: str
) -> None:
    row_id = insert(database, url="x", unique_key="k")
    outbox = Outbox(database, "relay")
    assert len(outbox.claim(1)) == 1
    async with History(url) as history:
        history(finished(row_id))
    assert outbox.settle([Settled("sent", [(row_id, 5, "t")], "one", "run")]) == 1
    found = row(database, row_id)
    assert (found["state"], found["beanstalk_job_id"], found["sends"]) == ("done", 5, 1)
    assert outbox.take_back_own() == 0


async def test_what_is_done_stays_done_and_what_was_kicked_is_sent_again(
    database: Database, url: str
) -> None:
    done = insert(database, url="x", state="done")
    failed = insert(database, url="x", state="failed")
    async with History(url) as history:
        history(finished(done, Kind.PERMANENT_FAIL))
        history(finished(failed, Kind.TEMPORARY_FAIL))
    assert row(database, done)["state"] == "done"
    assert row(database, failed)["state"] == "sent"


async def test_an_event_that_is_written_twice_is_there_once(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply to a commit may be lost."""
    commits = 0
    write = module._Writer._write

    def lose_the_reply(self: Any, events: Any, again: bool) -> None:
        nonlocal commits
        write(self, events, again)
        commits += 1
        if commits == 1:
            raise OperationalError("COMMIT", {}, Exception("gone"))

    monkeypatch.setattr(module._Writer, "_write", lose_the_reply)
    async with History(url) as history:
        history(started(None))
        history(finished(None))
    assert commits == 2
    assert len(events(database)) == 2


async def test_times_are_those_of_the_events_by_the_clock_of_the_database(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late they are written, and whatever the clock of this machine says."""
    row_id = insert(database, url="x", state="sent")
    history = History(url)
    history(started(row_id))
    history._queue.times[0] -= 3600
    monkeypatch.setattr(time, "time", lambda: 0.0)
    async with history:
        pass
    age = database.dialect.seconds_until("last_started_at")
    logged = database.dialect.seconds_until("created_at")
    with database.reading() as connection:
        started_at = connection.exec_driver_sql(f"SELECT {age} FROM queued_job").scalar_one()
        created_at = connection.exec_driver_sql(
            f"SELECT {logged} FROM queued_job_log"
        ).scalar_one()
    assert -3700 < float(started_at) <= -3600
    assert -3700 < float(created_at) <= -3600


@contextmanager
def frozen(server: DatabaseServer | SQLite, url: str) -> Iterator[None]:
    """The database answers nothing, until the end of the ``with``."""
    if isinstance(server, DatabaseServer):
        server.freeze()
        try:
            yield
        finally:
            server.thaw()
        return
    with closing(Database(url)) as other, other.transaction():
        yield


async def test_a_frozen_database_delays_nothing_and_what_is_too_much_is_counted(
    database: Database,
    database_server: DatabaseServer | SQLite,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 100)
    told: list[HistoryDropped] = []
    history = History(url)
    history.publish = told.append
    async with history:
        history(started(None))
        await until(lambda: history.written == 1)
        with frozen(database_server, url):
            for _ in range(50):
                history(started(None))
            await until(lambda: not history._queue.events)  # the thread hangs with these
            began = time.monotonic()
            for _ in range(300):
                history(started(None))
            assert time.monotonic() - began < 5  # SQLite would wait for 10 s, the others for 60
            assert history.dropped == 200
        await until(lambda: history.written == 151)
    assert len(events(database)) == 151
    assert sum(event.count for event in told) == 200


async def test_closing_waits_for_a_frozen_database_only_for_a_while(
    database: Database,
    database_server: DatabaseServer | SQLite,
    url: str,
) -> None:
    told: list[HistoryDropped] = []
    history = History(url)
    history.publish = told.append
    async with history:
        history(started(None))
        await until(lambda: history.written == 1)
        with frozen(database_server, url):
            for _ in range(700):
                history(started(None))
            await until(lambda: len(history._queue.events) <= 200)
            began = time.monotonic()
            await history.close(0.3)
            assert time.monotonic() - began < 3
            assert history.dropped == 700
            assert [event.count for event in told] == [700]


# PyMySQL leaves its socket to the garbage collector when it cannot connect.
@pytest.mark.filterwarnings("ignore:unclosed <socket")
async def test_a_database_that_restarts_gets_what_waited(
    database: Database, database_server: DatabaseServer | SQLite, url: str
) -> None:
    if isinstance(database_server, SQLite):
        pytest.skip("there is no server to restart")
    async with History(url) as history:
        history(started(None))
        await until(lambda: history.written == 1)
        database.close()
        database_server.stop(9)
        history(started(None))
        await until(lambda: history._writer.trouble)
        database_server.start()
        await until(lambda: history.written == 2)
    assert len(events(database)) == 2
    gc.collect()


async def test_an_event_that_the_database_refuses_costs_no_other(
    database: Database, url: str
) -> None:
    if database.dialect is SQLITE:
        pytest.skip("its columns take texts of any length")
    told: list[HistoryDropped] = []
    history = History(url)
    history.publish = told.append
    for number in range(100):
        event = started(None, number)
        history(replace(event, tube="t" * 300) if number in (0, 41) else event)
    async with history:
        await until(lambda: history.written == 98)
    assert history.dropped == 2
    assert {each["beanstalk_job_id"] for each in events(database)} == {*range(100)} - {0, 41}
    assert [event.count for event in told] == [2]
    assert "tube" in told[0].reason or "too long" in told[0].reason


def test_a_history_that_was_made_before_a_fork_is_written_by_each_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    program = (
        "import asyncio, os, sys\n"
        "from beanstalkt.sql import History\n"
        "from beanstalkt.worker.events import JobStarted\n"
        "history = History(sys.argv[1])\n"
        "async def main():\n"
        "    async with history:\n"
        "        history(JobStarted('beanstalk://s', 't', 7, 1, 1))\n"
        "    return history.written\n"
        "child = os.fork()\n"
        "written = asyncio.run(main())\n"
        "if child:\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    written += os.waitstatus_to_exitcode(status)\n"
        "sys.exit(written)"
    )
    with closing(Database(url)) as database:
        migrate(database)
        done = subprocess.run([sys.executable, "-c", program, url], timeout=60)
        assert done.returncode == 2
        assert len(events(database)) == 2


async def test_what_was_queued_just_before_the_close_is_written(
    database: Database, url: str
) -> None:
    looked, closed = threading.Event(), threading.Event()

    class Raced(deque[JobStarted | JobFinished]):
        """The thread sees it empty, and goes on only after the history was closed."""

        def __len__(self) -> int:
            length = super().__len__()
            if threading.current_thread().name == "history":
                looked.set()
                closed.wait(20)
            return length

        def __bool__(self) -> bool:  # up to Python 3.10, deque has one of its own
            return len(self) > 0

    history = History(url)
    history._queue.events = Raced()
    async with history:
        await until(looked.is_set)
        history(started(None))
        closing = asyncio.create_task(history.close())
        await until(lambda: history._writer._deadline is not None)
        closed.set()
        await closing
    assert (history.written, history.dropped) == (1, 0)


async def test_a_missing_table_is_said_and_its_events_are_dropped(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(url)
    async with history:
        history(started(None))
        await until(lambda: history.dropped == 1)
        with closing(Database(url)) as database:
            migrate(database)
        history(started(None))
        await until(lambda: history.written == 1)
    assert "queued_job_log" in caplog.text


async def test_a_read_only_database_is_waited_for(tmp_path: Any) -> None:
    path = tmp_path / "x.db"
    url = f"sqlite:///{path}"
    with closing(Database(url)) as database:
        migrate(database)
    readonly = History(f"sqlite:///file:{path}?mode=ro&uri=true")
    async with readonly:
        readonly(started(None))
        await until(lambda: "readonly" in readonly._writer.trouble)
        assert readonly.dropped == 0
        await readonly.close(0.2)
    assert readonly.dropped == 1


async def test_a_full_database_is_waited_for(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with closing(Database(url)) as database:
        migrate(database)
    history = History(url)
    with history._writer._database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    history._writer._database.close()
    async with history:
        original = history._writer._database.transaction

        @contextmanager
        def limited() -> Iterator[Any]:
            with original() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + extra}")
                yield connection

        extra = 0
        history._writer._database.transaction = limited  # type: ignore[method-assign]
        for number in range(400):
            history(finished(None, Kind.PERMANENT_FAIL, job=number))
        await until(lambda: "full" in history._writer.trouble)
        extra = 1000
        await until(lambda: history.written == 400)
    assert history.dropped == 0


async def test_it_does_nothing_while_nothing_happens(database: Database, url: str) -> None:
    async with History(url) as history:
        await until(lambda: history._writer.idle)
        # Of the thread alone: the tests' own may collect a lot of garbage meanwhile.
        thread = history._writer._thread
        assert thread is not None
        assert thread.ident is not None
        clock = time.pthread_getcpuclockid(thread.ident)
        before = time.clock_gettime(clock)
        await asyncio.sleep(0.3)
        assert time.clock_gettime(clock) - before < 0.1
        assert history._writer.idle


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgument, match="must look like"):
        History("nothing")


async def test_without_an_observer_of_that_event_the_log_says_what_was_dropped(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with History(url) as history:
            history(started(None))
    assert "1 events were dropped" in caplog.text
