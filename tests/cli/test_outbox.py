"""The verb outbox on SQLite: its actions, and what it says when something is missing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from beanstalkt.cmd import main
from beanstalkt.sql.database import Database

from ..support.beanstalkd import Beanstalkd
from ..support.outbox import events, insert, insert_many, row, states


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("BEANSTALKT_DATABASE", raising=False)
    monkeypatch.delenv("BEANSTALKD_URL", raising=False)
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    assert main(["outbox", "migrate", "--database", url]) == 0
    with closing(Database(url)) as made:
        yield made


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What an action prints, which must succeed, on either stream."""
    capsys.readouterr()
    assert main(["outbox", *words]) == 0
    out, err = capsys.readouterr()
    return out + err


def test_migrate_makes_the_tables_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has version 1 of the outbox now" in said(capsys, "migrate", "--database", url)
    assert "already" in said(capsys, "migrate", "--database", url)


def test_schema_prints_sql_that_makes_the_tables(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = said(capsys, "schema", "sqlite")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.executescript(script)
    assert json.loads(said(capsys, "status", "--database", url))["rows"]["new"] == 0
    assert said(capsys, "schema", "--database", url) == script
    assert "JSON" not in script
    assert "ENGINE = InnoDB" in said(capsys, "schema", "mariadb")


def test_the_relay_puts_what_is_there(
    database: Database, url: str, beanstalkd: Beanstalkd, capsys: pytest.CaptureFixture[str]
) -> None:
    insert_many(database, 3)
    words = ("--database", url, "--server", f"one={beanstalkd.url}", "--burst")
    assert "rows: 3 sent" in said(capsys, "relay", *words)
    status = json.loads(said(capsys, "status", "--database", url))
    assert status["rows"]["sent"] == 3
    assert [(each["server"], each["rows"]) for each in status["sent"]] == [("one", 3)]


def test_a_server_is_found_by_what_the_rows_call_it(
    database: Database,
    url: str,
    beanstalkd: Beanstalkd,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a name the relay calls it by its host and port, and others by its URL."""
    insert_many(database, 3)
    monkeypatch.setenv("BEANSTALKD_URL", beanstalkd.url)
    said(capsys, "relay", "--database", url, "--burst")
    monkeypatch.setenv("BEANSTALKD_URL", f"one={beanstalkd.url} two={beanstalkd.url}")
    insert_many(database, 4)
    said(capsys, "relay", "--database", url, "--burst")
    words = ("resend", "--database", url, "--dry-run", "--server")
    name = beanstalkd.url.partition("://")[2]
    for called, count in ((beanstalkd.url, 3), (name, 3), ("other", 0), (f"{name}1", 0)):
        assert f"{count} row" in said(capsys, *words, called)
    with database.transaction() as connection:
        connection.execute(text("UPDATE queued_job SET server = :url"), {"url": beanstalkd.url})
    for called in (beanstalkd.url, name):
        assert "7 rows" in said(capsys, *words, called)
    assert "0 rows" in said(capsys, *words, "one")


def test_the_relay_puts_into_several_servers(
    database: Database, url: str, beanstalkd: Beanstalkd, capsys: pytest.CaptureFixture[str]
) -> None:
    insert_many(database, 200)
    other = Beanstalkd()
    other.start()
    try:
        servers = ("--server", f"one={beanstalkd.url}", "--server", f"two={other.url}")
        words = ("--database", url, *servers, "--burst", "--batch", "100")
        assert "rows: 200 sent" in said(capsys, "relay", *words)
        status = json.loads(said(capsys, "status", "--database", url))
        assert {each["server"] for each in status["sent"]} == {"one", "two"}
        assert len({each["server_run"] for each in status["sent"]} - {None}) == 2
    finally:
        other.stop()


def test_the_database_may_be_in_the_environment(
    database: Database,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BEANSTALKT_DATABASE", url)
    assert json.loads(said(capsys, "status"))["claims"] == []


def test_resend_makes_rows_new_again_that_a_lost_server_had(
    database: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = insert(database, url="x", state="sent", server="one", server_run="a")
    insert(database, url="x", state="done", server="one", server_run="a")
    insert(database, url="x", state="sent", server="one", server_run="b")
    insert(database, url="x", state="sent", server="two", server_run="a")
    words = ("resend", "--database", url, "--server", "one", "--server-run", "a")
    assert "would put 1 rows again" in said(capsys, *words, "--dry-run")
    assert states(database) == {"sent": 3, "done": 1}
    assert "1 rows are new again" in said(capsys, *words, "--yes")
    assert row(database, lost)["state"] == "new"
    assert states(database) == {"sent": 2, "done": 1, "new": 1}
    doubtful = insert(database, url="x", state="in doubt")
    assert "0 rows" in said(capsys, "resend", "--database", url, "--id", str(doubtful), "--yes")
    parked = ("--id", str(doubtful), "--state", "in-doubt", "--yes")
    assert "1 rows" in said(capsys, "resend", "--database", url, *parked)


def test_clean_deletes_what_is_old_in_batches(
    database: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.transaction() as connection:
        for state, age, count in (
            ("done", 40, 2500),
            ("done", 1, 5),
            ("failed", 40, 3),
            ("sent", 40, 2),
        ):
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                f"WHERE i < {count}) INSERT INTO queued_job (url, state, last_finished_at) "
                f"SELECT 'x', '{state}', datetime('now', '-{age} days') FROM n"
            )
        connection.exec_driver_sql(
            "INSERT INTO queued_job_log (event_id, event, created_at) VALUES "
            "('a', 'sent', datetime('now', '-40 days')), ('b', 'sent', datetime('now'))"
        )
    words = ("clean", "--database", url, "--older-than", "30d")
    assert "would delete 2501 rows and events" in said(capsys, *words, "--dry-run")
    assert "2501 were deleted" in said(capsys, *words, "--yes")
    assert states(database) == {"done": 5, "failed": 3, "sent": 2}
    assert [each["event_id"] for each in events(database)] == ["b"]
    assert "3 were deleted" in said(capsys, *words, "--yes", "--failed", "--only", "rows")
    assert "2 were deleted" in said(capsys, *words, "--yes", "--sent")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["status"], 2, "--database"),
        (["resend", "--id", str(2**63)], 2, "row id must be from 0 to 9223372036854775807"),
        (["status", "--database", "nothing"], 2, "must look like"),
        (["status", "--database", "sqlite:////no/such/folder/x.db"], 69, "the database: unable"),
        (["relay", "--database", "mysql://h:1/x", "--name", ""], 2, "1 to 200"),
        (["relay", "--database", "postgresql://127.0.0.1:1/x"], 69, "the database: "),
        (
            ["relay", "--database", "x", *["--server", "unix:///a"] * 2],
            2,
            "two servers are called",
        ),
        (["relay", "--database", "x", "--server", "http://x"], 2, "--server"),
        (["relay", "--database", "x", "--batch", "0"], 2, "at least 1"),
        (["migrate", "--database", "sqlite:///x.db", "--notify"], 2, "only PostgreSQL"),
        (["schema"], 2, "KIND or --database"),
        (["schema", "oracle"], 2, "oracle is not one of"),
        (["resend", "--database", "x"], 2, "say which rows"),
        (["resend", "--database", "x", "--server", "one"], 2, "no terminal to ask on"),
        (["clean", "--database", "x"], 2, "no terminal to ask on"),
        (["nothing"], 2, "invalid choice"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str],
    status: int,
    message: str,
    url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        found = main(["outbox", *words])
    except SystemExit as end:
        found = int(str(end.code))
    assert found == status
    assert message in capsys.readouterr().err


def test_a_database_without_tables_is_told_what_to_run(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["outbox", "status", "--database", url]) == 2
    assert "run beanstalkt outbox migrate" in capsys.readouterr().err


def test_a_relay_of_the_same_name_is_refused(
    database: Database, url: str, beanstalkd: Beanstalkd, capsys: pytest.CaptureFixture[str]
) -> None:
    from beanstalkt.cli.relaying import only_one

    words = ["outbox", "relay", "--database", url, "--server", beanstalkd.url, "--burst"]
    with only_one("same", database):
        assert main([*words, "--name", "same"]) == 2
        assert "a relay called same already runs here" in capsys.readouterr().err
        assert main([*words, "--name", "other"]) == 0
    assert main([*words, "--name", "same"]) == 0


def test_without_a_server_the_relay_says_so(
    database: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["outbox", "relay", "--database", url, "--server", "unix:///no/such/socket"]
    assert main(words) == 69
    assert "/no/such/socket" in capsys.readouterr().err
