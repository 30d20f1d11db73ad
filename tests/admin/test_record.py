"""What is made of the statistics of a job."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin.record import JobRecord, read_record, record_of
from beanstalkt.protocol.arguments import TUBE_NAME
from beanstalkt.protocol.stats import parse_job

NUMBER = st.integers(0, 2**32 - 1)
TUBE = st.from_regex(TUBE_NAME, fullmatch=True)
STATE = st.sampled_from(["ready", "delayed", "buried", "reserved"])

COUNTERS = ("reserves", "timeouts", "releases", "buries", "kicks")

RECORDS = st.builds(
    JobRecord,
    id=st.integers(1, 2**64 - 1),
    tube=TUBE,
    state=STATE,
    time_left=st.integers(-(2**31), 2**32),
    body=st.none(),
    **dict.fromkeys(("priority", "age", "delay", "ttr", *COUNTERS), NUMBER),
)


def made(body: bytes | None = None) -> JobRecord:
    return JobRecord(1, "t", "ready", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, body)


def as_written(record: JobRecord, quote: str) -> bytes:
    return (
        f"---\nid: {record.id}\ntube: {quote}{record.tube}{quote}\nstate: {record.state}\n"
        f"pri: {record.priority}\nage: {record.age}\ndelay: {record.delay}\nttr: {record.ttr}\n"
        f"time-left: {record.time_left}\nfile: 0\nreserves: {record.reserves}\n"
        f"timeouts: {record.timeouts}\nreleases: {record.releases}\nburies: {record.buries}\n"
        f"kicks: {record.kicks}\n"
    ).encode()


@given(RECORDS, st.sampled_from(["", '"']))
def test_a_record_has_what_the_server_wrote(record: JobRecord, quote: str) -> None:
    data = as_written(record, quote)
    assert read_record(data) == record
    assert record_of(parse_job(data)) == record


def test_statistics_of_a_newer_server_are_read_as_well() -> None:
    data = as_written(made(), "") + b"colour: red\n"
    assert read_record(data).tube == "t"


@pytest.mark.parametrize("data", [b"", b"---\n", b"---\nid: 1\n", b"---\nid: x\ntube: t\n"])
def test_other_data_is_no_record(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_record(data)


@given(st.binary())
def test_any_body_can_be_written_as_json(body: bytes) -> None:
    found = json.loads(json.dumps(made(body).as_dict()))
    if "encoding" in found:
        assert base64.b64decode(found["body"]) == body
    else:
        assert found["body"].encode() == body


def test_a_record_without_a_body_has_none_in_json() -> None:
    assert "body" not in made().as_dict()
