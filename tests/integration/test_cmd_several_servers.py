"""The command line with several servers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import admin, blocking, cmd, errors
from beanstalkt.cli import listing

from ..support.beanstalkd import Beanstalkd
from ..support.several import Servers, several, urls_of

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def servers(patient: None) -> Iterator[Servers]:
    with several(2) as found:
        yield found


@pytest.fixture
def run(
    servers: Servers, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a verb with all servers, and return its exit status, output and errors."""
    named = [f"{name}={url}" for name, url in urls_of(servers).items()]
    monkeypatch.setenv("BEANSTALKD_URL", " ".join(named))

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        return (cmd.main(words), *capfd.readouterr())

    return run


def test_jobs_are_put_printed_and_deleted_by_ids_with_names(run: Run) -> None:
    status, out, _ = run("put", "x")
    assert status == 0
    job_id = out.strip()
    assert job_id[:2] in ("a/", "b/")
    assert json.loads(run("peek", job_id)[1]) == {"body": "x", "id": job_id}
    assert json.loads(run("stats-job", job_id)[1])["state"] == "ready"
    assert json.loads(run("reserve", "bury")[1])["id"] == job_id
    assert run("kick-job", job_id)[0] == 0
    assert json.loads(run("reserve-job", job_id, "delete")[1])["id"] == job_id
    status, _, err = run("delete", job_id)
    assert status == 1
    assert job_id in err


def test_sums_and_lists_are_of_all_servers(run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("\n".join(str(number) for number in range(2000)))
    status, out, _ = run("put", "-u", "t", "--lines", str(lines))
    assert status == 0
    assert {line.partition("/")[0] for line in out.split()} == {"a", "b"}
    assert json.loads(run("stats")[1])["current-jobs-ready"] == 2000
    assert json.loads(run("list-tubes")[1]) == ["default", "t"]
    assert run("pause", "t", "-d", "100")[0] == 0
    assert run("reserve", "-w", "t", "-t", "0")[0] == 1
    assert run("kick", "-b", "10")[1] == "0\n"


def test_servers_may_be_named_one_by_one(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEANSTALKD_URL")
    options = [
        word for name, url in urls_of(servers).items() for word in ("--server", f"{name}={url}")
    ]
    ids = {run(*options, "put", "x")[1][:2] for _ in range(2)}
    assert ids <= {"a/", "b/"}
    assert run("reserve", *options, "-t", "0", "delete")[0] == 0


def test_a_server_that_is_away_is_left_out(run: Run, servers: Servers) -> None:
    servers["a"].kill()
    assert run("put", "x")[1].startswith("b/")
    servers["b"].kill()
    status, _, err = run("--connect-timeout", "0.5", "put", "x")
    assert status == 69
    for name in servers:
        assert f"{name}, beanstalk://" in err


def fill(run: Run, servers: Servers, tube: str = "t", count: int = 3) -> None:
    """Put so many jobs into the tube of each server."""
    for server in servers.values():
        with blocking.Client(server.host, server.port) as client:
            client.put_many([b"x"] * count, tube=tube)


def left(server: Beanstalkd, tube: str = "t") -> int:
    """How many jobs are ready in a tube of a server."""
    with blocking.Client(server.host, server.port) as client:
        try:
            return client.stats_tube(tube)["current-jobs-ready"]
        except errors.NotFound:
            return 0


def test_many_jobs_of_all_servers_are_counted_and_changed(run: Run, servers: Servers) -> None:
    fill(run, servers)
    status, out, err = run("clear", "t", "--dry-run")
    assert (status, out) == (0, "6\n")
    assert "would have deleted 6 jobs (6 ready); nothing was changed" in err
    assert "b: would have deleted 3 jobs (3 ready)" in err
    assert run("delete", "-u", "t", "--limit", "4", "--yes")[1] == "4\n"
    status, out, err = run("clear", "t", "--yes")
    assert (status, out) == (0, "2\n")
    assert "a: deleted 0 jobs" in err
    assert "b: deleted 2 jobs (2 ready)" in err


def test_the_question_tells_how_many_each_server_has(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def confirmed(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("beanstalkt.cli.confirm.can_ask", lambda: True)
    monkeypatch.setattr("beanstalkt.cli.changing.confirmed", confirmed)
    fill(run, servers)
    assert run("clear", "t")[0] == 1
    assert asked == ["Delete 6 jobs (6 ready) of t (a: 3, b: 3)?"]
    servers["a"].kill()
    status, _, err = run("--connect-timeout", "0.5", "clear", "t")
    assert asked[1:] == ["Delete 3 jobs (3 ready) of t (b: 3)?"]
    assert (status, "a is left out: " in err) == (69, True)


@pytest.mark.parametrize("ending", ["kill", "freeze"])
def test_the_others_are_done_where_a_server_is_away(
    run: Run, servers: Servers, ending: str
) -> None:
    fill(run, servers)
    getattr(servers["a"], ending)()
    where = ("--connect-timeout", "0.5", "--timeout", "0.5")
    for words, lines in (
        (("list", "t"), 3),
        (("export", "t"), 3),
        (("kick", "t", "--all", "--yes"), 1),
        (("copy", "t", "--to-tube", "u", "--yes"), 1),
        (("clear", "t", "--yes"), 1),
    ):
        status, out, err = run(*where, *words)
        assert (status, len(out.splitlines())) == (69, lines), words
        assert "a is left out: " in err
    assert (left(servers["b"]), left(servers["b"], "u")) == (0, 3)
    servers["b"].kill()
    status, out, err = run(*where, "clear", "t", "--yes")
    assert (status, out) == (69, "")
    assert "a" in err
    assert "b: " in err


def in_the_middle_of_clear(
    monkeypatch: pytest.MonkeyPatch, names: str, act: Callable[[], object]
) -> None:
    """Have `act` called, in a clear, once some jobs of one of these servers are done."""
    original = admin.clear

    async def clear(*arguments: Any, **options: Any) -> Any:
        async def wait_and_act() -> None:
            of_each = options["summary"].servers
            while not any(own.done for name, own in of_each.items() if name in names):
                await asyncio.sleep(0)
            act()

        task = asyncio.ensure_future(wait_and_act())
        try:
            return await original(*arguments, **options)
        finally:
            await task

    monkeypatch.setattr(admin, "clear", clear)


def test_a_server_that_is_lost_in_the_middle_is_told(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, servers, count=20_000)
    in_the_middle_of_clear(monkeypatch, "b", servers["b"].kill)
    status, out, err = run("clear", "t", "--state", "ready", "--yes")
    assert status == 69
    assert left(servers["a"]) == 0
    told = dict(re.findall(r"^beanstalkt: ([ab]): deleted ([0-9,]+) jobs", err, re.MULTILINE))
    numbers = {name: int(number.replace(",", "")) for name, number in told.items()}
    assert numbers["a"] == 20_000
    assert 0 < numbers["b"] < 20_000
    assert int(out) == sum(numbers.values())
    assert re.search("^beanstalkt: b: .*connection", err, re.MULTILINE)


def test_ctrl_c_ends_between_two_jobs_on_each_server(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, servers, count=5000)
    in_the_middle_of_clear(monkeypatch, "ab", lambda: os.kill(os.getpid(), signal.SIGINT))
    status, out, err = run("clear", "t", "--state", "ready", "--yes")
    assert status == 130
    assert f"interrupted: deleted {int(out):,} jobs" in err
    assert "a: interrupted: deleted" in err
    assert "b: interrupted: deleted" in err
    assert left(servers["a"]) + left(servers["b"]) == 10_000 - int(out)


def test_jobs_are_listed_and_exported_with_their_servers(run: Run, servers: Servers) -> None:
    fill(run, servers, count=1)
    status, out, err = run("list", "t")
    assert status == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a/1", "b/1"]
    assert "b: 1 job among the ids 1 to 1" in err
    assert run("list", "t", "--limit", "1")[1].count("\n") == 1
    lines = [json.loads(line) for line in run("export", "t")[1].splitlines()]
    assert [(line["server"], line["id"]) for line in lines] == [("a", 1), ("b", 1)]
    assert json.loads(run("list")[1]) == ["default", "t"]
    for job_id in ("a/1", "b/1"):
        assert run("delete", job_id)[0] == 0


def test_jobs_move_to_a_server_by_its_name(run: Run, servers: Servers) -> None:
    fill(run, servers)
    status, out, err = run("move", "t", "--to", "b", "--yes")
    assert (status, out) == (0, "3\n")
    assert "b: its own jobs stay" in err
    assert (left(servers["a"]), left(servers["b"])) == (0, 6)
    status, out, _ = run("move", "t", "--to-tube", "u", "--yes")
    assert (status, out) == (0, "6\n")
    assert left(servers["b"], "u") == 6
    status, _, err = run("move", "t", "--to", "c", "--yes")
    assert (status, "no server is called 'c': there are a, b" in err) == (2, True)
    assert run("copy", "u", "--to", servers["a"].url, "--yes")[1] == "6\n"
    assert left(servers["a"], "u") == 6


def test_a_tail_ends_at_its_limit_and_tells_of_the_lost(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, ended = threading.Event(), threading.Event()
    follow, tell = admin.tail, listing._tell_lost

    def follow_a_lost_one(*arguments: Any, **options: Any) -> Any:
        servers["a"].kill()
        return follow(*arguments, **options)

    def tell_lost(name: str, error: errors.BeanstalkException) -> None:
        tell(name, error)
        told.set()

    def put() -> None:
        told.wait(30)
        with blocking.Client(servers["b"].host, servers["b"].port) as client:
            while not ended.wait(0.02):
                client.put("x", tube="t")

    monkeypatch.setattr(admin, "tail", follow_a_lost_one)
    monkeypatch.setattr(listing, "_tell_lost", tell_lost)
    putting = threading.Thread(target=put)
    putting.start()
    try:
        status, out, err = run("tail", "t", "--interval", "0.05", "--limit", "1")
    finally:
        ended.set()
        putting.join()
    assert status == 69
    assert json.loads(out)["id"].startswith("b/")
    assert "a is not followed any more: " in err


def test_ids_of_a_lost_server_do_not_stop_those_of_others(run: Run, servers: Servers) -> None:
    fill(run, servers)
    servers["a"].kill()
    status, _, err = run("--connect-timeout", "0.5", "delete", "a/1", "b/1", "a/2", "b/2")
    assert status == 69
    assert "job a/1: " in err
    assert "job a/2: nothing was sent, since a is lost" in err
    assert left(servers["b"]) == 1


def test_ids_are_checked_before_any_is_used(run: Run, servers: Servers) -> None:
    fill(run, servers)
    for wrong in ("c/1", "1"):
        assert run("delete", "a/1", wrong)[0] == 2
    assert left(servers["a"]) == 3


def test_ids_go_with_the_number_of_servers(run: Run, servers: Servers) -> None:
    status, _, err = run("peek", "17")
    assert (status, "'a/17'" in err) == (2, True)
    assert run("peek", "c/17")[0] == 2
    status, _, err = run("--server", servers["a"].url, "delete", "a/17")
    assert (status, "--server a=URL" in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--server", "a=beanstalk://h", "--server", "a=beanstalk://g"),
        ("--server", "a="),
        ("--server", "a/b=beanstalk://h"),
    ],
)
def test_wrong_lists_are_refused_at_once(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        cmd.main([*words, "stats"])
    assert caught.value.code == 2


def test_a_wrong_list_in_the_environment_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", "a=beanstalk://h a=beanstalk://g")
    status, _, err = run("stats")
    assert status == 2
    assert "BEANSTALKD_URL: two servers are called 'a'" in err


def test_an_import_goes_back_is_spread_or_goes_to_one(
    run: Run, servers: Servers, tmp_path: Path
) -> None:
    fill(run, servers)
    file = tmp_path / "jobs"
    file.write_text(run("export", "t")[1])
    run("clear", "t", "--yes")
    status, out, err = run("import", str(file))
    assert (status, out) == (0, "6\n")
    assert "b: imported 3 jobs (3 ready)" in err
    assert run("import", "--to", "b", str(file))[1] == "6\n"
    assert (left(servers["a"]), left(servers["b"])) == (3, 9)
    servers["a"].kill()
    assert run("import", "--to", "b", "-u", "u", str(file))[:2] == (0, "6\n")
    where = ("--connect-timeout", "0.5")
    status, out, err = run(*where, "import", "-u", "v", "--on-error", "skip", str(file))
    assert (status, out) == (69, "3\n")
    assert "lines 1-3: its server, a, is not available" in err
    assert run(*where, "import", "-u", "v", "--spread", str(file))[:2] == (69, "6\n")
    with pytest.raises(SystemExit, match="2"):
        run("import", "--to", "c", str(file))


def test_the_table_of_tubes_has_a_row_for_each_server_or_sums(run: Run, servers: Servers) -> None:
    fill(run, servers)
    status, out, _ = run("stats-tube", "--filter", "t")
    rows = [line.split()[:3] for line in out.splitlines()]
    assert (status, rows) == (0, [["TUBE", "SERVER", "READY"], ["t", "a", "3"], ["t", "b", "3"]])
    rows = [
        line.split()[:2] for line in run("stats-tube", "--filter", "t", "--sum")[1].splitlines()
    ]
    assert rows == [["TUBE", "READY"], ["t", "6"]]
    lines = run("stats-tube", "--filter", "t", "--age", "--json-lines")[1].splitlines()
    found = [json.loads(line) for line in lines]
    assert [(each["server"], each["head-id"]) for each in found] == [("a", "a/1"), ("b", "b/1")]
    assert json.loads(run("stats-tube", "t")[1])["current-jobs-ready"] == 6
    servers["a"].kill()
    status, out, err = run("--connect-timeout", "0.5", "stats-tube", "--filter", "t")
    assert (status, len(out.splitlines())) == (69, 2)
    assert "a is left out: " in err


def test_one_server_under_two_names_is_refused(run: Run, servers: Servers) -> None:
    fill(run, servers)
    url = servers["a"].url
    status, out, err = run("--server", f"a={url}", "--server", f"c={url}", "clear", "t", "--yes")
    assert (status, out) == (2, "")
    assert "a and c are the same server: name it once" in err
    assert left(servers["a"]) == 3
    # One server with a name is one of several.
    assert run("--server", f"a={url}", "clear", "t", "--yes")[:2] == (0, "3\n")


def test_servers_without_names_are_called_by_host_and_port(run: Run, servers: Servers) -> None:
    fill(run, servers, count=1)
    where = [word for server in servers.values() for word in ("--server", server.url)]
    ids = [json.loads(line)["id"] for line in run(*where, "list", "t")[1].splitlines()]
    assert ids == [f"127.0.0.1:{server.port}/1" for server in servers.values()]
    assert run(*where, "delete", *ids)[0] == 0
