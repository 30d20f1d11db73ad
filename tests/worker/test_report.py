"""Log lines: one event, one line, whatever a command wrote."""

from __future__ import annotations

import json
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker import report
from beanstalkt.worker.report import Event, JSONFormatter, Once, TextFormatter


def record(message: object, *values: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("beanstalkt", level, "", 0, message, values, None)


def test_a_line_of_text() -> None:
    event = Event("job", {"tube": "mail", "id": 7, "error": 'no "user"', "exit": None, "x": ""})
    line = TextFormatter().format(record(event))
    assert line.endswith('INFO job tube=mail id=7 error="no \\"user\\"" exit=None x=""')


def test_a_line_of_json_has_the_same_fields() -> None:
    line = JSONFormatter().format(record(Event("job", {"tube": "mail", "id": 7, "seconds": 0.5})))
    said = json.loads(line)
    assert said.pop("time")
    assert said == {"level": "info", "event": "job", "tube": "mail", "id": 7, "seconds": 0.5}


def test_each_line_has_its_own_second() -> None:
    text, lines = TextFormatter(), JSONFormatter()
    for created in (1_700_000_000.9, 1_700_000_001.0, 1_700_000_001.5, 1_700_000_000.0):
        entry = record("it")
        entry.created = created
        expected = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(created))
        assert text.format(entry).split()[0] == expected
        assert json.loads(lines.format(entry))["time"] == expected


def test_other_messages_as_json() -> None:
    said = json.loads(JSONFormatter().format(record("lost %s", "it", level=logging.WARNING)))
    assert said["event"] == "message"
    assert said["message"] == "lost it"
    assert said["level"] == "warning"


def test_an_exception_as_json() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        entry = record("broken")
        entry.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: no" in json.loads(JSONFormatter().format(entry))["backtrace"]


@given(st.text())
def test_nothing_begins_a_line_of_its_own(text: str) -> None:
    event = Event("job", {"error": text})
    for formatter in (TextFormatter(), JSONFormatter()):
        line = formatter.format(record(event))
        assert line.isascii()
        assert line.isprintable()


def test_a_message_of_200_clients_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Once()
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert once.filter(record("lost %s", "a"))
    assert not once.filter(record("lost %s", "a"))
    assert once.filter(record("lost %s", "b"))
    now += report.SILENCE + 1
    assert once.filter(record("lost %s", "a"))


def test_events_are_never_left_out() -> None:
    once = Once()
    event = Event("job", {"id": 1})
    assert once.filter(record(event))
    assert once.filter(record(event))
