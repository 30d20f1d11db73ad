"""The command line with several servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beanstalkt import cmd

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
    status, _, err = run("--connect-timeout", "0.1", "put", "x")
    assert status == 69
    for name in servers:
        assert f"{name}, beanstalk://" in err


def test_a_verb_for_one_server_says_so(run: Run, servers: Servers) -> None:
    for words in (["clear", "t", "--yes"], ["list", "t"], ["delete", "--tube", "t", "--yes"]):
        status, _, err = run(*words)
        assert status == 2, words
        assert f"give it alone, such as --server {servers['a'].url}" in err


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
