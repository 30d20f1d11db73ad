"""The JSON line of a job: written, read again, and refused with the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin.portable import PortableJob, decode, delay_left, encode, portable
from beanstalkt.admin.record import STATES, JobRecord, State
from beanstalkt.errors import InvalidArgument

NUMBERS = st.integers(0, 2**32 - 1)
BODIES = st.binary(max_size=200) | st.text(max_size=200).map(
    lambda text: text.encode("utf-8", "replace")
)


def record(body: bytes = b"x", state: State = "ready", **changes: Any) -> JobRecord:
    numbers: dict[str, Any] = {
        "id": 7,
        "priority": 5,
        "age": 1,
        "delay": 0,
        "ttr": 60,
        "time_left": 0,
        **changes,
    }
    return JobRecord(
        **numbers, tube="t", state=state, reserves=0, timeouts=0, releases=0, buries=0, kicks=0,
        body=body,
    )  # fmt: skip


@given(BODIES, st.sampled_from(STATES), NUMBERS, NUMBERS, NUMBERS)
def test_a_line_is_read_as_what_it_was_written_from(
    body: bytes, state: State, priority: int, time_left: int, ttr: int
) -> None:
    found = record(body, state, priority=priority, time_left=time_left, ttr=ttr, delay=9)
    line = encode(found)
    assert decode(line) == portable(found, body)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    # It is what json makes, and may be written again by any program that knows JSON.
    fields = json.loads(line)
    assert line.decode() == json.dumps(fields) + "\n"
    assert decode(json.dumps(fields, ensure_ascii=False, indent=1)) == portable(found, body)


def test_a_delay_is_what_is_left_of_it_and_only_of_a_delayed_job() -> None:
    assert delay_left(record(state="delayed", delay=100, time_left=40)) == 40
    # It is rounded down, and a delayed job must not be ready on arrival.
    assert delay_left(record(state="delayed", delay=100, time_left=0)) == 1
    assert delay_left(record(state="delayed", delay=100, time_left=-1)) == 1
    for state in ("ready", "buried", "reserved"):
        assert delay_left(record(state=state, delay=100, time_left=40)) == 0


def test_what_a_line_does_not_have_is_as_usual() -> None:
    assert decode('{"tube": "mail", "body": "x"}') == PortableJob(
        "mail", "ready", 2**31, 0, 120, b"x"
    )
    assert decode('{"body": "x", "delay": 5}', tube="news") == PortableJob(
        "news", "delayed", 2**31, 5, 120, b"x"
    )
    assert decode('{"tube": "mail", "body": "x"}', tube="news").tube == "news"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "not JSON"),
        ('{"tube": "a", "body": "b"', "not JSON: .* at character 26"),
        ('{"tube": "a", "body": "b', "not JSON"),
        (b"\xff", "not UTF-8: byte 1"),
        ("[]", "not a JSON object"),
        ('"x"', "not a JSON object"),
        ("[" * 100_000, "too deep or too long"),
        ('{"priority": ' + "1" * 5000 + "}", "too deep or too long"),
        ('{"body": "x"}', "tube: the field is missing"),
        ('{"tube": null, "body": "x"}', "tube: a tube name must be a str"),
        ('{"tube": "a b", "body": "x"}', "tube: bad tube name"),
        ('{"tube": "a"}', "body: the field is missing"),
        ('{"tube": "a", "body": 1}', "body: it must be a string, not 1"),
        ('{"tube": "a", "body": {"b": "long %s"}}' % ("x" * 99), r"body: .*\.\.\.$"),
        (r'{"tube": "a", "body": "\ud800"}', "body: it has half of a surrogate pair"),
        ('{"tube": "a", "body": "x", "encoding": "base64"}', "body: it is not base64"),
        ('{"tube": "a", "body": "ä", "encoding": "base64"}', "body: it is not base64"),
        ('{"tube": "a", "body": "eA==", "encoding": "hex"}', 'encoding: .* not "hex"'),
        ('{"tube": "a", "body": "eA==", "encoding": ["base64"]}', "encoding: .* not"),
        ('{"tube": "a", "body": "x", "priority": -1}', "priority: it must be from 0 to 4294967"),
        ('{"tube": "a", "body": "x", "priority": 4294967296}', "priority: it must be from 0"),
        ('{"tube": "a", "body": "x", "priority": true}', "priority: .* whole number, not true"),
        ('{"tube": "a", "body": "x", "ttr": 1.5}', "ttr: it must be a whole number, not 1.5"),
        ('{"tube": "a", "body": "x", "ttr": "9"}', 'ttr: it must be a whole number, not "9"'),
        ('{"tube": "a", "body": "x", "delay": NaN}', "delay: it must be a whole number, not NaN"),
        ('{"tube": "a", "body": "x", "state": "gone"}', 'state: .*reserved, not "gone"'),
        ('{"tube": "a", "body": "x", "state": []}', r"state: .*, not \[\]"),
        ('{"tube": "a", "body": "x", "state": "delayed"}', "delay: it must be 1 or more"),
        ('{"tube": "a", "body": "x", "state": "ready", "delay": 1}', "delay: it must be 0"),
        ('{"tube": "a", "body": "x", "priorty": 1}', "'priorty' is not a field"),
        ('{"tube": "a", "body": "x", "body": "y"}', "a field is there twice"),
        (r'{"tube": "a", "body": "x", "\u001b[31m": 1}', r"'\\x1b\[31m' is not a field"),
    ],
)
def test_a_wrong_line_is_refused_with_its_field(line: str | bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        decode(line)


@given(st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["tube", "body", "state", "delay", "ttr", "priority", "encoding", "id"]),
        inner, max_size=8,
    ),
).map(json.dumps))  # fmt: skip
def test_any_line_is_read_or_refused_clearly(line: str | bytes) -> None:
    message = ""
    try:
        decode(line, tube="t")
    except InvalidArgument as error:
        message = str(error)
    assert message.isprintable()
