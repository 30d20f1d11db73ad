"""The id of a row comes out of a body as it was put in, and other bodies are left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.outbox_id import unwrap, wrap

IDS = st.integers(0, 10**18 - 1)


@given(IDS, st.binary())
def test_a_wrapped_payload_comes_out_unchanged(row: int, payload: bytes) -> None:
    assert unwrap(wrap(row, payload)) == (row, payload)


@given(IDS, st.text())
def test_json_with_the_id_is_left_as_it_is(row: int, url: str) -> None:
    body = json.dumps({"outbox_id": row, "url": url}, separators=(",", ":")).encode()
    assert unwrap(body) == (row, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        b'{"outbox_id": 1, "url": ""}',
        b'{"outbox_id":"1","url":""}',
        b'{"outbox_id":-1,"url":""}',
        b'{"outbox_id":1}',
        b'{"outbox_id":' + b"9" * 30 + b',"url":""}',
        b'{"url":"","outbox_id":1}',
        b"Beanstalkt-Outbox-Id: \n\nx",
        b"Beanstalkt-Outbox-Id: 1\nx",
        b"Beanstalkt-Outbox-Id: 1",
        b" Beanstalkt-Outbox-Id: 1\n\nx",
        b"beanstalkt-outbox-id: 1\n\nx",
    ],
)
def test_any_other_body_has_no_id(body: bytes) -> None:
    assert unwrap(body) == (None, body)
