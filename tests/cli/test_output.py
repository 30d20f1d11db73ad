"""How results are printed."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.cli.output import (
    KEY_COLOUR,
    NO_COLOUR,
    as_json,
    coloured,
    emit,
    emit_ids,
    emit_json,
    progress_bar,
    ranges,
    readable,
)
from beanstalkt.job import Job


def test_a_job_is_shown_with_its_keys_in_this_order() -> None:
    shown = as_json(readable(Job(1, b"A job to work on")))
    assert shown == '{\n  "body": "A job to work on",\n  "id": 1\n}'


@given(st.binary())
def test_every_body_can_be_had_back(body: bytes) -> None:
    shown = as_json(readable(Job(7, body)))
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
    ("ids", "printed"), [([1, None, 3], "1\n3\n"), ([], ""), ([None, None], "")]
)
def test_ids_are_printed_one_on_each_line(
    ids: list[int | None], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    emit_ids(ids)
    assert capsys.readouterr().out == printed


def test_a_result_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out"
    with file.open("w") as stream:  # a file is buffered
        monkeypatch.setattr(sys, "stdout", stream)
        emit("a result")
        assert file.read_text() == "a result\n"


@pytest.mark.parametrize("ids", [[7], [7, None, 9]])
def test_ids_that_cannot_be_printed_are_told(
    ids: list[int | None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(BrokenPipeError):  # the reader did not want to know
            emit_ids(ids)
        assert capsys.readouterr().err == ""
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="No space left"):
            emit_ids(ids)
    told = (
        "job 7 was put, but its id" if len(ids) == 1 else "2 jobs were put, 7 to 9, but their ids"
    )
    assert capsys.readouterr().err == f"beanstalkt: {told} cannot be printed\n"


def test_what_the_terminal_has_no_character_for_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", encoding="latin-1") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        emit("Grüße, 日本")
    assert (tmp_path / "out").read_text("latin-1") == "Grüße, \\u65e5\\u672c\n"


def test_a_result_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="standard output") as caught:
            emit("a result")
        assert caught.value.filename == "standard output"
        # What is left in the buffer goes nowhere, when the stream is closed here.


def test_a_closed_standard_output_takes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    emit()
    with pytest.raises(OSError, match="Bad file descriptor"):
        emit("a result")


def test_the_bar_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.devnull, "rb") as file:
        assert progress_bar(file) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([7], "7"), ([2, 3], "2-3"), ([2, 3, 4, 9], "2-4, 9"), ([1, 3, 4], "1, 3-4")],
)
def test_rising_numbers_are_abbreviated(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_colours_change_nothing_but_the_colour_of_the_keys(value: dict[str, object]) -> None:
    shown = coloured(as_json(value))
    assert shown.count(KEY_COLOUR) == shown.count(NO_COLOUR) == len(value)
    assert json.loads(shown.replace(KEY_COLOUR, "").replace(NO_COLOUR, "")) == value


def test_a_key_is_coloured_with_its_quotes_and_a_body_is_not() -> None:
    shown = coloured(as_json(readable(Job(1, b'"body": "x"\n"id": 7'))))
    assert shown.splitlines()[2] == f'  {KEY_COLOUR}"id"{NO_COLOUR}: 1'
    assert shown.count(KEY_COLOUR) == 2


@pytest.mark.parametrize(
    ("terminal", "no_color", "term", "colours"),
    [
        (True, None, "xterm", True),
        (True, "", "xterm", True),
        (True, "1", "xterm", False),
        (True, "0", "xterm", False),
        (True, None, "dumb", False),
        (True, None, None, False),
        (True, None, "", False),
        (False, None, "xterm", False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    terminal: bool,
    no_color: str | None,
    term: str | None,
    colours: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("NO_COLOR", no_color), ("TERM", term)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    master, end = os.openpty() if terminal else os.pipe()
    with open(end, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        emit_json({"a": 1})
        monkeypatch.undo()
    shown = os.read(master, 1000).decode()
    os.close(master)
    assert (KEY_COLOUR in shown) == colours
    assert '"a"' in shown
