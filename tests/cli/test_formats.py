"""How results are printed: as JSON, on one line each, or as their bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanstalkt.cli.formats import emit_job, emit_value
from beanstalkt.cli.output import KEY_COLOUR, emit
from beanstalkt.cli.parser import parse
from beanstalkt.job import Job

FIXTURE = HealthCheck.function_scoped_fixture

JOB_VERBS = [["reserve"], ["reserve-job", "1"], ["peek", "1"], ["peek-ready"], ["peek-buried"]]


@settings(suppress_health_check=[FIXTURE])
@given(st.binary())
def test_a_raw_body_is_printed_as_its_bytes(
    capfdbinary: pytest.CaptureFixture[bytes], body: bytes
) -> None:
    emit_job(Job(7, body), parse(["peek", "7", "--raw"]))
    assert capfdbinary.readouterr().out == body


@settings(suppress_health_check=[FIXTURE])
@given(st.binary())
def test_a_job_is_one_line_of_json(capsys: pytest.CaptureFixture[str], body: bytes) -> None:
    emit_job(Job(7, body), parse(["peek", "7", "--json-lines"]))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.endswith("}\n")
    assert out.isascii()
    assert json.loads(out)["id"] == 7


def test_one_line_has_no_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for programs, also where a terminal is between."""
    monkeypatch.setattr("beanstalkt.cli.output.shows_colours", lambda: True)
    emit_value({"a": 1}, parse(["stats", "--json-lines"]))
    emit_value({"a": 1}, parse(["stats"]))
    assert capsys.readouterr().out == f'{{"a": 1}}\n{{\n  {KEY_COLOUR}"a"\x1b[39m: 1\n}}\n'


def test_a_raw_body_comes_after_what_was_printed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = parse(["peek", "7", "--raw"])
    with (tmp_path / "out").open("w") as stream:  # buffered, as a pipe is
        monkeypatch.setattr(sys, "stdout", stream)
        print("one", end=" ")
        emit_job(Job(7, b"two\xff"), options)
        emit("three")
    assert (tmp_path / "out").read_bytes() == b"one two\xffthree\n"


@pytest.mark.parametrize("closed", [True, False])
def test_a_raw_body_that_cannot_be_written_is_an_error(
    closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", None if closed else stream)
        with pytest.raises(OSError, match="standard output"):
            emit_job(Job(7, b"x" * 100_000), parse(["peek", "7", "--raw"]))


@pytest.mark.parametrize("words", JOB_VERBS)
def test_a_job_is_printed_in_one_format(words: list[str]) -> None:
    assert parse([*words, "--raw"]).raw
    assert parse([*words, "--json-lines"]).json_lines
    assert not parse(words).raw
    with pytest.raises(SystemExit, match="2"):
        parse([*words, "--raw", "--json-lines"])
