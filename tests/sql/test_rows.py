"""The job that is put for a row, and what is refused before it is sent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.errors import InvalidArgument
from beanstalkt.sql.rows import QueuedJob, put_of
from beanstalkt.worker.handlers.http.request import read_request
from beanstalkt.worker.outbox_id import Carried, unwrap


def row(**changes: Any) -> QueuedJob:
    values: dict[str, Any] = {
        "id": 7,
        "http_method": "post",
        "url": "http://example.com/somewhere",
        "body": "some post body",
        "headers": None,
        "payload": None,
        "timeout_secs": 120,
        "tube": None,
        "priority": 2**31,
        "ttr_secs": None,
        "size": 40,
        "timed": 0,
        "delay": None,
        "remaining_retries": None,
        "retry_delay_secs": None,
    }
    return QueuedJob(**values | changes)


def test_the_runner_reads_the_request_of_a_row() -> None:
    put = put_of(row(headers='{"X-Kind": "mail"}'), "jobs")
    assert (put.tube, put.priority, put.delay, put.ttr) == ("jobs", 2**31, 0, 130)
    assert unwrap(put.body)[0] == Carried(7)
    request = read_request(put.body)
    assert (request.method, str(request.url)) == ("POST", "http://example.com/somewhere")
    assert (request.body, request.timeout) == (b"some post body", 120)
    assert request.headers == {"X-Kind": "mail"}


@given(body=st.none() | st.text(), row_id=st.integers(1, 2**53))
def test_any_text_arrives(body: str | None, row_id: int) -> None:
    put = put_of(row(body=body, id=row_id), "jobs")
    assert unwrap(put.body) == (Carried(row_id), put.body)
    assert read_request(put.body).body == (body or "").encode()


@given(st.binary())
def test_any_payload_arrives(payload: bytes) -> None:
    chosen = row(url=None, payload=payload, tube="own", ttr_secs=5)
    put = put_of(chosen, "jobs")
    assert (unwrap(put.body), put.tube, put.ttr) == ((Carried(7), payload), "own", 5)
    assert put_of(chosen, "jobs", plain=True).body == payload


@pytest.mark.parametrize("payload", [None, b"", b"Beanstalkt-Outbox-Id: 1\n\nx"])
@pytest.mark.parametrize(("attempts", "delay"), [(None, None), (1, 0), (2**31 - 1, None), (3, 60)])
def test_the_limits_of_a_row_go_along(
    payload: bytes | None, attempts: int | None, delay: int | None
) -> None:
    chosen = row(remaining_retries=attempts, retry_delay_secs=delay)
    if payload is not None:
        chosen.url, chosen.payload = None, payload
    body = put_of(chosen, "jobs").body
    assert unwrap(body) == (Carried(7, attempts, delay), body if payload is None else payload)
    if payload is None:
        assert read_request(body).body == b"some post body"


@pytest.mark.parametrize(("seconds", "delay"), [(-3600.0, 0), (0.0, 0), (0.1, 1), (60.0, 60)])
def test_a_job_is_never_ready_too_early(seconds: float, delay: int) -> None:
    assert put_of(row(timed=1, delay=seconds), "jobs").delay == delay


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tube": "-x"}, "bad tube name"),
        ({"tube": ""}, "bad tube name"),
        ({"tube": 5}, "tube name must be a str"),
        ({"priority": 2**32}, "priority must be from 0"),
        ({"priority": -1}, "priority must be from 0"),
        ({"priority": "high"}, "priority is str"),
        ({"timeout_secs": 0}, "timeout_secs must be at least 1"),
        ({"timeout_secs": 1.5}, "timeout_secs is float"),
        ({"timeout_secs": 2**32}, "ttr must be from 0"),
        ({"ttr_secs": -1}, "ttr must be from 0"),
        ({"timed": 1}, "not_before is not a time"),
        ({"timed": 1, "delay": math.inf}, "not_before is more than"),
        ({"timed": 1, "delay": math.nan}, "not_before is more than"),
        ({"headers": "X-Kind: mail"}, "headers is not JSON"),
        ({"headers": "[" * 100_000}, "headers is not JSON"),
        ({"headers": "[]"}, "not an object"),
        ({"headers": '{"X-Number": 1}'}, "'X-Number' is not a string"),
        ({"headers": '{"X": "\\ud800"}'}, "cannot be sent as UTF-8"),
        ({"body": "\udcff"}, "cannot be sent as UTF-8"),
        ({"url": None, "payload": "\udcff"}, "half a surrogate pair|UTF-8"),
        ({"body": b"bytes"}, "body is bytes"),
        ({"url": 7}, "url is int"),
        ({"url": None, "payload": 7}, "body must be bytes-like"),
        ({"size": 2**40}, "the job has 1099511627776 bytes"),
        ({"url": None}, "body must be bytes-like"),
        ({"remaining_retries": 0}, "remaining_retries must be at least 1"),
        ({"remaining_retries": "5"}, "remaining_retries is str"),
        ({"retry_delay_secs": -1}, "retry_delay_secs must be from 0"),
        ({"retry_delay_secs": 2**32}, "retry_delay_secs must be from 0"),
        ({"url": None, "payload": b"", "retry_delay_secs": 1.5}, "retry_delay_secs is float"),
    ],
)
def test_what_cannot_be_put_is_refused_with_the_column(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        put_of(row(**changes), "jobs")
