"""The verbs that show jobs without moving them, and how they print them."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from beanstalkt import blocking
from beanstalkt.admin import JobRecord
from beanstalkt.cli import job_table
from beanstalkt.cli.program import main

from ..support.embedded import AnyServer
from ..support.waiting import block_until

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def client(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[blocking.Client]:
    """A server that the program finds by itself."""
    monkeypatch.setenv("BEANSTALKD_URL", server.url)
    with blocking.Client(server.host, server.port) as client:
        yield client


def listed(capsys: Capture, *words: str) -> list[Any]:
    assert main(words) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_prints_jobs_as_lines_of_json(client: blocking.Client, capsys: Capture) -> None:
    client.put("Grüße", 5, tube="a")
    client.put(b"\xff", 5, delay=100, tube="a")
    client.put("elsewhere", tube="b")
    first, second = listed(capsys, "list", "a")
    assert first["body"] == "Grüße"
    assert (first["tube"], first["state"], first["priority"]) == ("a", "ready", 5)
    assert (second["body"], second["encoding"], second["state"]) == ("/w==", "base64", "delayed")
    assert [job["id"] for job in listed(capsys, "list", "--all")] == [1, 2, 3]
    assert [job["id"] for job in listed(capsys, "list", "--text", "where")] == [3]
    assert "body" not in listed(capsys, "list", "a", "--no-body", "--limit", "1")[0]
    assert listed(capsys, "list", "c") == []


def test_a_regular_expression_that_takes_too_long_ends_with_status_1(
    client: blocking.Client, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.admin.pattern_search.LIMIT", 0.2)
    client.put("aaa")
    client.put("a" * 60 + "!")
    for words in (("list", "--regex"), ("clear", "default", "--yes", "--regex")):
        assert main([*words, "^(a|aa)+$"]) == 1
        assert "takes longer than 0.2 s in the body of job 2" in capsys.readouterr().err


def test_without_arguments_list_prints_the_names_of_tubes(
    client: blocking.Client, capsys: Capture
) -> None:
    client.watch("a")
    for words in ("list", "list-tubes"):
        assert main([words]) == 0
        assert json.loads(capsys.readouterr().out) == ["default", "a"]
    assert listed(capsys, "list", "--json-lines") == ["default", "a"]


def test_what_was_looked_at_is_told(client: blocking.Client, capsys: Capture) -> None:
    client.put_many([b"x"] * 3)
    main(["list", "default"])
    assert "3 jobs among the ids 1 to 3; jobs put since" in capsys.readouterr().err
    main(["list", "default", "--watch-range", "2-2"])
    assert "1 job among the ids 2 to 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("list a --all", "name none besides"),
        ("list --limit 3", "go with a TUBE"),
        ("list-tubes a", "unrecognized"),
        ("tail --interval 0", "more than 0"),
        ("list -x", "unrecognized"),
    ],
)
def test_wrong_usage_is_refused(words: str, message: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_the_list(
    client: blocking.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put_many([b"x"] * 500)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert main(["list", "default"]) == 141


# --- tail -------------------------------------------------------------------------------------


def test_tail_prints_new_jobs_until_it_is_interrupted(
    client: blocking.Client, capsys: Capture
) -> None:
    client.put("old", tube="a")
    printed: list[str] = []

    def put_and_interrupt() -> None:
        def seen() -> bool:
            client.put("new", tube="a")  # until it follows
            printed.append(capsys.readouterr().out)
            return "new" in "".join(printed)

        block_until(seen)
        os.kill(os.getpid(), signal.SIGINT)

    putting = threading.Thread(target=put_and_interrupt)
    putting.start()
    assert main(["tail", "a", "--interval", "0.01"]) == 130
    putting.join()
    first = json.loads("".join(printed).splitlines()[0])
    assert (first["body"], first["tube"]) == ("new", "a")


def test_tail_ends_at_its_limit(client: blocking.Client, capsys: Capture) -> None:
    ended = threading.Event()

    def put() -> None:
        while not ended.wait(0.01):
            client.put("new")

    putting = threading.Thread(target=put)
    putting.start()
    assert main(["tail", "--interval", "0.01", "--limit", "3"]) == 0
    ended.set()
    putting.join()
    assert len(capsys.readouterr().out.splitlines()) == 3


# --- the table --------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table(client: blocking.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    client.put("short", 5)
    client.put("long " * 30, delay=90)
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["list", "default"]) == 0
    heading, first, second = screen.getvalue().splitlines()
    assert heading.split() == ["ID", "STATE", "PRIORITY", "AGE", "LEFT", "TTR", "RESV", "BODY"]
    assert first.split() == ["1", "ready", "5", "0s", "-", "2.0m", "0", "short"]
    assert heading.index("BODY") == first.index("short") == second.index("long")
    assert len(second) == 80
    assert second.endswith("…")


RECORD = JobRecord(12, "tube", "delayed", 7, 3600, 90, 120, 60, 1, 0, 0, 0, 0, b"")


@pytest.mark.parametrize("body", [b"\x1b[2J", b"\r\n\t\x00", "\u202e\u2028".encode(), b"\xff\xfe"])
def test_no_body_controls_the_terminal(body: bytes) -> None:
    record = JobRecord(**{**{k: getattr(RECORD, k) for k in RECORD.__slots__}, "body": body})
    assert job_table.row(record, 80, tubes=True).isprintable()


def test_tubes_are_shown_where_there_may_be_several() -> None:
    assert " TUBE " in job_table.heading(tubes=True, bodies=True)
    assert " tube " in job_table.row(RECORD, 80, tubes=True)
    assert "BODY" not in job_table.heading(tubes=False, bodies=False)
