"""The id of a row comes out of a body as it was put in, and other bodies are left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.outbox_id import NOTHING, Carried, json_keys, unwrap, wrap

NUMBERS = st.none() | st.integers(0, 2**32 - 1)
CARRIED = st.builds(Carried, st.integers(0, 10**18 - 1), NUMBERS, NUMBERS)


@given(CARRIED, st.binary())
def test_a_wrapped_payload_comes_out_unchanged(carried: Carried, payload: bytes) -> None:
    assert unwrap(wrap(payload, carried)) == (carried, payload)
    # A payload that is wrapped twice is unwrapped once.
    assert unwrap(wrap(wrap(payload, Carried(7, 8, 9)), carried))[0] == carried


@given(CARRIED, st.text())
def test_json_with_the_id_is_left_as_it_is(carried: Carried, url: str) -> None:
    body = json.dumps({**json_keys(carried), "url": url}, separators=(",", ":")).encode()
    assert unwrap(body) == (carried, body)


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
        b"Beanstalkt-Outbox-Id: 1\nBeanstalkt-Outbox-Retries: -1\n\nx",
        b"Beanstalkt-Outbox-Id: 1\nBeanstalkt-Outbox-Retries: 99999999999\n\nx",
        b"Beanstalkt-Outbox-Id: 1\nBeanstalkt-Outbox-Retry-Delay: 1\nX: 1\n\nx",
    ],
)
def test_any_other_body_has_no_id(body: bytes) -> None:
    assert unwrap(body) == (NOTHING, body)
