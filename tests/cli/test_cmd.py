"""How results are shown, and what the exit status is. What talks to a server is tested in
tests/integration."""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import cmd, errors
from beanstalkt.job import Job


def test_a_job_is_shown_with_its_keys_in_this_order() -> None:
    shown = cmd.as_json(cmd.readable(Job(1, b"A job to work on")))
    assert shown == '{\n  "body": "A job to work on",\n  "id": 1\n}'


@given(st.binary())
def test_every_body_can_be_had_back(body: bytes) -> None:
    shown = cmd.as_json(cmd.readable(Job(7, body)))
    assert shown.isascii()
    assert not any(ord(letter) < 32 and letter != "\n" for letter in shown)
    job = json.loads(shown)
    assert job["id"] == 7
    if "encoding" in job:
        assert job["encoding"] == "base64"
        assert base64.b64decode(job["body"]) == body
        with pytest.raises(UnicodeDecodeError):
            body.decode()
    else:
        assert job["body"].encode() == body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound(), 1),
        (errors.TimedOut(), 1),
        (errors.DeadlineSoon(), 1),
        (errors.Buried(), 1),
        (errors.JobTooBig(), 1),
        (errors.BadFormat(), 1),
        (errors.InvalidArgument(), 2),
        (errors.ConnectionLost(), 69),
        (errors.ReservationLost(), 69),
        (errors.UnexpectedResponse(), 69),
    ],
)
def test_the_exit_status_of_an_error(error: errors.BeanstalkException, status: int) -> None:
    assert cmd.status_of(error) == status


def address(monkeypatch: pytest.MonkeyPatch, environment: str | None, **given: object) -> object:
    """The URL that a client is made of."""
    if environment is None:
        monkeypatch.delenv("BEANSTALKD_URL", raising=False)
    else:
        monkeypatch.setenv("BEANSTALKD_URL", environment)
    made = []
    monkeypatch.setattr(
        "beanstalkt.client.client.Client.from_url",
        lambda url, connect_timeout: made.append((url, connect_timeout)),
    )
    options = {"server": None, "connect_timeout": 3.0, **given}
    cmd.connection(argparse.Namespace(**options))
    return made.pop()


def test_the_server_is_the_one_given_or_named_by_the_environment_or_local(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def url(environment: str | None = "beanstalk://env:1", **given: object) -> object:
        return address(monkeypatch, environment, **given)

    assert url(server="unix:///a%20b", connect_timeout=0.0) == ("unix:///a%20b", 0.0)
    assert url() == ("beanstalk://env:1", 3.0)
    assert url("") == ("beanstalk://localhost:11300", 3.0)
    assert url(None) == ("beanstalk://localhost:11300", 3.0)


def test_a_bad_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.InvalidArgument, match="BEANSTALKD_URL: bad URL 'localhost:1'"):
        address(monkeypatch, "localhost:1")


def test_the_bar_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.devnull, "rb") as file:
        assert cmd.progress_bar(file) is None
    assert capsys.readouterr().err == ""


def test_the_verbs_do_not_import_what_they_do_not_use() -> None:
    program = (
        "import sys, beanstalkt.cmd as cmd\n"
        "try: cmd.main(['put', '-h'])\n"
        "except SystemExit: pass\n"
        "unused = {'beanstalkt.cli.work', 'beanstalkt.cli.serve', 'tqdm'}\n"
        "sys.exit(bool(unused & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([7], "7"), ([2, 3], "2-3"), ([2, 3, 4, 9], "2-4, 9"), ([1, 3, 4], "1, 3-4")],
)
def test_numbers_in_short(numbers: list[int], text: str) -> None:
    assert cmd.ranges(numbers) == text


Ids = list[int | None]


@pytest.mark.parametrize(
    ("error", "ids", "status", "said"),
    [
        (
            errors.JobTooBig("put: JOB_TOO_BIG: large (put_many: 2 went in; see .ids)"),
            [1, None, 3],
            1,
            ["line 12 was not put: put: JOB_TOO_BIG: large", "no line behind 13 was put"],
        ),
        (
            errors.ConnectionLost("lost", sent=True),
            [1, None, None],
            69,
            ["line 12-13 was perhaps not put: lost", "no line behind 13 was put"],
        ),
        (errors.ConnectionLost("lost"), [], 69, ["lost", "no line behind 10 was put"]),
    ],
)
def test_it_is_told_which_lines_were_put(
    error: errors.BeanstalkException,
    ids: Ids,
    status: int,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cmd.not_all_put(error, ids, 10) == status
    written = capsys.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert len(lines) == len(said)
    for line, text in zip(lines, said, strict=True):
        assert line.startswith(f"beanstalkt: {text}")
