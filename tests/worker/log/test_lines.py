"""Log lines: one event, one line, whatever a command wrote."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.log import lines
from beanstalkt.worker.log.lines import JSONFormatter, LogEntry, RepeatFilter, TextFormatter


def record(
    message: object, *values: object, level: int = logging.INFO, name: str = "beanstalkt"
) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, values, None)


def test_a_line_of_text() -> None:
    event = LogEntry("job", {"tube": "mail", "id": 7, "error": 'no "user"', "exit": None, "x": ""})
    line = TextFormatter().format(record(event))
    assert line.endswith('INFO job tube=mail id=7 error="no \\"user\\"" exit=None x=""')


def test_a_line_of_json_has_the_same_fields() -> None:
    line = JSONFormatter().format(
        record(LogEntry("job", {"tube": "mail", "id": 7, "seconds": 0.5}))
    )
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
    event = LogEntry("job", {"error": text})
    for formatter in (TextFormatter(), JSONFormatter()):
        line = formatter.format(record(event))
        assert line.isascii()
        assert line.isprintable()


# --- what strict readers of JSON take ---------------------------------------------------------


def strict(line: str) -> Any:
    """Read JSON as RFC 8259 has it: Python's own reader takes more."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line, parse_constant=refuse)
    json.dumps(said, ensure_ascii=False).encode()  # raises where there is a lone surrogate
    return said


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | ANY_TEXT
    | st.binary()
    | st.builds(object)
    | st.builds(Unspeakable),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(ANY_TEXT | st.integers() | st.none() | st.tuples(st.floats()), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(ANY_TEXT, ANYTHING))
def test_whatever_the_fields_are_the_line_is_strict_json(fields: dict[str, object]) -> None:
    said = strict(JSONFormatter().format(record(LogEntry("job", fields))))
    assert (said["level"], said["event"]) == ("info", "job")


@given(ANY_TEXT, ANYTHING)
def test_whatever_a_message_says_the_line_is_strict_json(text: str, value: object) -> None:
    for line in (record(text), record(text, value), record("%s and %d", value)):
        assert strict(JSONFormatter().format(line))["event"] == "message"


@given(ANY_TEXT)
def test_what_is_no_text_at_all_becomes_a_sign_that_says_so(text: str) -> None:
    said = strict(JSONFormatter().format(record(LogEntry("job", {"error": text}))))
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert said["error"] == whole
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert said["error"] == text


def test_what_is_no_number_is_text() -> None:
    fields = {"a": float("nan"), "b": [float("inf")], "c": {"d": -float("inf")}, "e": 1.5}
    said = strict(JSONFormatter().format(record(LogEntry("job", fields))))
    assert [said[key] for key in "abce"] == ["nan", ["inf"], {"d": "-inf"}, 1.5]


def test_what_holds_itself_is_still_a_line() -> None:
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        assert "error" in strict(JSONFormatter().format(record(LogEntry("job", {"error": value}))))
    # Not in one step: the release of one that is nested so deeply is left to the interpreter.
    while deep:
        deep = deep[0]  # type: ignore[assignment]


def test_fields_do_not_take_the_place_of_what_every_line_has() -> None:
    event = LogEntry("job", {"event": "x", "time": "y", "level": "z", "id": 1})
    said = strict(JSONFormatter().format(record(event)))
    assert (said["event"], said["level"], said["id"]) == ("job", "info", 1)
    assert said["time"] != "y"


# --- what is not repeated ---------------------------------------------------------------------


def test_a_message_of_200_clients_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = RepeatFilter()
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert once.filter(record("lost %s", "a"))
    assert not once.filter(record("lost %s", "a"))
    assert once.filter(record("lost %s", "b"))
    now += lines.REPEAT_INTERVAL + 1
    assert once.filter(record("lost %s", "a"))


def test_events_are_never_left_out() -> None:
    once = RepeatFilter()
    event = LogEntry("job", {"id": 1})
    assert once.filter(record(event))
    assert once.filter(record(event))


@pytest.mark.parametrize("name", ["app.mail", "root", "beanstalktics", "tornado.access"])
def test_what_others_say_is_never_left_out(name: str) -> None:
    once = RepeatFilter()
    assert all(once.filter(record("sent", name=name)) for _ in range(20))


@pytest.mark.parametrize("name", ["beanstalkt", "beanstalkt.worker"])
def test_every_logger_of_the_package_is_meant(name: str) -> None:
    once = RepeatFilter()
    assert [once.filter(record("lost", name=name)) for _ in range(3)] == [True, False, False]


def test_distinct_messages_take_bounded_memory_and_no_more_time_each() -> None:
    once = RepeatFilter()

    def looked_at(count: int) -> int:
        """How many calls and lines of Python that many messages cost."""
        steps = 0

        def step(*_: object) -> Any:
            nonlocal steps
            steps += 1
            return step

        old = sys.gettrace()
        sys.settrace(step)
        try:
            for _ in range(count):
                once.filter(record("lost %d", next(numbers)))
        finally:
            sys.settrace(old)
        return steps

    numbers = itertools.count()
    few = looked_at(100)
    for number in range(3 * lines.MAX_REMEMBERED):
        assert once.filter(record("lost %s", number + 10**6))
    assert len(once._seen) == lines.MAX_REMEMBERED
    assert looked_at(100) <= 1.5 * few


def test_a_message_is_left_out_for_as_long_as_it_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = RepeatFilter()
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert once.filter(record("a"))
    now += lines.REPEAT_INTERVAL / 2
    assert once.filter(record("b"))
    assert not once.filter(record("a"))
    now += lines.REPEAT_INTERVAL / 2
    assert once.filter(record("a"))
    assert not once.filter(record("b"))
    assert not once.filter(record("a"))
