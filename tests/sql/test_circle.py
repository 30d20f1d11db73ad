"""From the INSERT to what became of the job: database, relay, server, runner, database."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.web import RequestHandler

from beanstalkt import Retry, Worker, WorkerJob
from beanstalkt.sql import upkeep
from beanstalkt.sql.database import Database
from beanstalkt.sql.history import History

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.outbox import events, insert, relay_of, row, states
from ..support.running import Running, settings
from ..support.waiting import until
from ..support.webserver import Answer, Web, serving

ROOT = Path(__file__).parent.parent.parent

RESPONSE = "first line\nsecond line\nthird line"


async def relayed(database: Database, server: Beanstalkd, tube: str = "requests") -> None:
    """Put all new rows."""
    async with client_of(server) as client:
        await relay_of(database, client, burst=True, tube=tube).run()


@asynccontextmanager
async def requesting(
    database: Database, server: Beanstalkd, url: str, answer: Answer, **options: str
) -> AsyncIterator[Web]:
    """A runner that makes the requests of jobs, with a history, and the server that answers."""
    async with serving(answer) as web, History(url) as history:
        chosen = {"http_job": "yes", "allow": web.url, "delay": "0", **options}
        async with Running(settings(server, "requests", options=chosen), observers=[history]):
            yield web


def answering(status: int) -> Answer:
    def answer(handler: RequestHandler) -> None:
        handler.set_status(status)
        handler.write(RESPONSE)

    return answer


async def test_the_insert_of_strings_queue_is_answered_in_its_row_and_log(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    async with requesting(database, beanstalkd, url, answering(200)) as web:
        with database.transaction() as connection:
            connection.exec_driver_sql(
                "INSERT INTO queued_job (http_method, url, body, timeout_secs) VALUES "
                f"('post', '{web.url}/somewhere', 'some post body', 120)"
            )
        await relayed(database, beanstalkd)
        await until(lambda: states(database)["done"] == 1)
        (request,) = web.requests
    assert (request.method, request.path, request.body) == (
        "POST",
        "/somewhere",
        b"some post body",
    )
    assert request.headers["X-Beanstalkt-Outbox-Id"] == "1"
    found = row(database, 1)
    assert (found["result_code"], found["http_status"]) == (0, 200)
    assert found["last_response"] == "first line\nsecond line"
    assert None not in (found["last_started_at"], found["last_finished_at"], found["sent_at"])
    logged = events(database, 1)
    assert [each["event"] for each in logged] == ["sent", "started", "finished"]
    assert logged[-1]["msg"] == "first line\nsecond line"
    assert {each["server_run"] for each in logged} == {found["server_run"]} != {None}
    assert {each["beanstalk_job_id"] for each in logged} == {found["beanstalk_job_id"]}


async def test_503_is_tried_five_times(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    async with requesting(database, beanstalkd, url, answering(503)) as web:
        row_id = insert(database, url=f"{web.url}/")
        await relayed(database, beanstalkd)
        await until(lambda: states(database)["failed"] == 1)
        assert len(web.requests) == 5
    found = row(database, row_id)
    assert (found["result_code"], found["http_status"]) == (2, 503)
    assert (found["remaining_retries"], found["retry_delay_secs"]) == (0, 0)
    assert "503" in found["last_error"]
    names = [each["event"] for each in events(database, row_id)]
    assert names == ["sent", *["started", "released"] * 5, "buried"]


async def test_a_row_says_how_often_and_how_soon_it_is_tried_again(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    # The runner would try it five times, an hour apart.
    async with requesting(database, beanstalkd, url, answering(503), delay="3600") as web:
        own = insert(database, url=f"{web.url}/own", remaining_retries=3, retry_delay_secs=0)
        slow = insert(database, url=f"{web.url}/slow", remaining_retries=9)
        await relayed(database, beanstalkd)
        await until(lambda: states(database)["failed"] == 1)
        assert [each.path for each in web.requests].count("/own") == 3
    found = row(database, own)
    assert (found["state"], found["remaining_retries"], found["retry_delay_secs"]) == (
        "failed",
        0,
        0,
    )
    names = [each["event"] for each in events(database, own)]
    assert names == ["sent", *["started", "released"] * 3, "buried"]
    waits = row(database, slow)
    assert (waits["state"], waits["remaining_retries"], waits["retry_delay_secs"]) == (
        "sent",
        8,
        3600,
    )


async def test_the_attempts_of_a_row_go_on_when_it_is_put_again(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    seen: list[tuple[int, int]] = []

    async def handler(job: WorkerJob) -> None:
        seen.append((job.attempt, job.max_attempts))
        raise Retry

    async def work(count: int) -> None:
        async with History(url) as history:
            worker = Worker(
                beanstalkd.url, "t", handler, delay=3600, max_jobs=count, observers=[history]
            )
            await worker.run(signals=False)

    row_id = insert(database, payload=b"x", tube="t", remaining_retries=3, retry_delay_secs=0)
    await relayed(database, beanstalkd)
    await work(1)
    assert row(database, row_id)["remaining_retries"] == 2
    beanstalkd.kill()
    beanstalkd.start()  # without the job
    assert sum(upkeep.resend(database, server="one")) == 1
    await relayed(database, beanstalkd)
    await work(3)
    assert seen == [(1, 3), (1, 2), (2, 2)]
    found = row(database, row_id)
    assert (found["state"], found["remaining_retries"]) == ("failed", 0)
    # Without attempts left, a person's wish to run it again counts more.
    assert sum(upkeep.resend(database, states=["failed"])) == 1
    assert row(database, row_id)["remaining_retries"] is None


async def test_any_other_status_is_final(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    async with requesting(database, beanstalkd, url, answering(500)) as web:
        row_id = insert(database, url=f"{web.url}/")
        await relayed(database, beanstalkd)
        await until(lambda: states(database)["failed"] == 1)
    found = row(database, row_id)
    assert (found["result_code"], found["http_status"]) == (1, 500)
    assert found["last_response"] == "first line\nsecond line"


async def test_a_request_that_takes_too_long_is_tried_again(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    count = 0

    async def answer(handler: RequestHandler) -> None:
        nonlocal count
        count += 1
        if count == 1:
            await asyncio.sleep(3600)

    async with requesting(database, beanstalkd, url, answer) as web:
        row_id = insert(database, url=f"{web.url}/", timeout_secs=2)
        await relayed(database, beanstalkd)
        await until(lambda: states(database)["done"] == 1)
    names = [each["event"] for each in events(database, row_id)]
    assert names == ["sent", "started", "released", "started", "finished"]
    assert row(database, row_id)["result_code"] == 0


async def test_any_handler_closes_the_circle(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    seen: list[tuple[int | None, bytes]] = []

    async def handler(job: WorkerJob) -> None:
        seen.append((job.outbox_id, job.body))

    row_id = insert(database, payload=b"\x00payload", tube="requests")
    await relayed(database, beanstalkd)
    async with client_of(beanstalkd) as client:
        await client.put("from elsewhere", tube="requests")
    async with History(url) as history:
        worker = Worker(beanstalkd.url, "requests", handler, max_jobs=2, observers=[history])
        await worker.run(signals=False)
    assert seen == [(row_id, b"\x00payload"), (None, b"from elsewhere")]
    assert row(database, row_id)["state"] == "done"
    logged = [(each["job_id"], each["event"]) for each in events(database)]
    assert logged == [
        (row_id, "sent"),
        (row_id, "started"),
        (row_id, "finished"),
        (None, "started"),
        (None, "finished"),
    ]


async def test_a_plain_job_is_found_in_the_history_by_its_server_and_number(
    database: Database, url: str, beanstalkd: Beanstalkd
) -> None:
    async def handler(job: WorkerJob) -> None:
        assert (job.outbox_id, job.body) == (None, b"\x00payload")

    ids = [insert(database, payload=b"\x00payload", tube="requests") for _ in range(3)]
    async with client_of(beanstalkd) as client:
        await relay_of(database, client, burst=True, plain=True).run()
    async with History(url) as history:
        worker = Worker(beanstalkd.url, "requests", handler, max_jobs=2, observers=[history])
        await worker.run(signals=False)
    page = (ROOT / "doc" / "howto" / "outbox.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"    (SELECT q\.id.*?);\n", page, re.DOTALL)
    with database.reading() as connection:
        found = [tuple(each)[:2] for each in connection.exec_driver_sql(query)]
    assert sorted(found) == [(ids[0], "finished"), (ids[1], "finished")]
    assert states(database) == {"sent": 3}


@pytest.mark.parametrize("database_server", ["sqlite"], indirect=True)
def test_work_has_a_history_on_the_command_line(
    database: Database, url: str, beanstalkd: Beanstalkd, io_loop: Any
) -> None:
    row_id = insert(database, payload=b"x", tube="requests")
    io_loop.run_sync(lambda: relayed(database, beanstalkd))
    words = ["work", "--server", beanstalkd.url, "--tube", "requests", "--exec"]
    command = [sys.executable, "-m", "beanstalkt", *words, 'test "$BEANSTALKT_OUTBOX_ID" = 1']
    command[-1] = f"/bin/sh -c '{command[-1]}'"
    done = subprocess.run(
        [*command, "--burst", "--history", url], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert row(database, row_id)["state"] == "done"
    for wrong, message in (("nothing", "must look like"), ("oracle://x/y", "oracle is no")):
        done = subprocess.run(
            [*command, "--burst", "--history", wrong], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 2
        assert f"--history: {message}" in done.stderr or message in done.stderr
