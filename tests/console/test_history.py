"""The page of the history: what it reads from a database, and one that does not answer."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from beanstalkt.console import Console, Settings
from beanstalkt.sql.history_log import HistoryLog
from tests.support.console import NOWHERE, Visitor, visited
from tests.support.history_database import with_events


async def test_events_the_newest_first_by_filter_and_page_by_page(tmp_path: Path) -> None:
    log = HistoryLog(with_events(tmp_path / "jobs.db", 450))
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute(
            "INSERT INTO queued_job_log (event_id, server, beanstalk_job_id, tube, event) "
            "VALUES ('by URL', ?, 1, 'c', 'started')",
            (NOWHERE,),
        )
    console = Console(Settings({"main": NOWHERE}, port=0), history=log)
    console.start()
    visitor = Visitor(console)
    try:
        assert (await visitor.get("/api/session"))["history"]
        first = await visitor.get("/api/history?tube=a")
        assert [row["beanstalk_job_id"] for row in first["rows"]] == list(range(447, 147, -3))
        assert abs(first["rows"][0]["time"] - time.time()) < 60
        second = await visitor.get(f"/api/history?tube=a&before={first['next']}")
        assert [row["beanstalk_job_id"] for row in second["rows"]] == list(range(147, -3, -3))
        assert second["next"] is None
        (one,) = (await visitor.get("/api/history?beanstalk_job_id=7&event=finished"))["rows"]
        assert one["msg"] == "<b>done</b>"
        servers = await visitor.get("/api/history?server=s&beanstalk_job_id=7")
        assert len(servers["rows"]) == 1
        assert (await visitor.get("/api/history?server=t"))["rows"] == []
        # What a runner wrote by the URL is found by the name that the console gives it.
        by_url = await visitor.get("/api/history?server=main")
        assert [row["server"] for row in by_url["rows"]] == [NOWHERE]
        assert [row["server_name"] for row in by_url["rows"]] == ["main"]
        for name, count in (("s/7", 1), ("t/7", 0), ("main/1", 1)):
            found = await visitor.get(f"/api/history?beanstalk_job_id={quote(name, safe='')}")
            assert len(found["rows"]) == count
        hostile = quote("' OR 1=1 --")
        assert (await visitor.get(f"/api/history?tube={hostile}"))["rows"] == []
        for wrong in (
            "colour=red",
            "job_id=x",
            "before=-1",
            "beanstalk_job_id=1e9",
            "beanstalk_job_id=s/x",
        ):
            assert (await visitor.ask(f"/api/history?{wrong}")).code == 400
    finally:
        visitor.close()
        await console.stop()
        log.close()


async def test_a_database_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    log = HistoryLog(f"sqlite:///{tmp_path / 'empty.db'}")
    console = Console(Settings({"main": NOWHERE}, port=0), history=log)
    console.start()
    visitor = Visitor(console)
    try:
        response = await visitor.ask("/api/history")
        assert response.code == 503
        assert "queued_job_log" in json.loads(response.body)["error"]
    finally:
        visitor.close()
        await console.stop()
        log.close()


async def test_without_a_history_there_is_none() -> None:
    async with visited() as visitor:
        assert not (await visitor.get("/api/session"))["history"]
        assert (await visitor.ask("/api/history")).code == 404
