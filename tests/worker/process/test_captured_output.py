"""What is kept of a command's output, and what its standard error says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.policy.exceptions import MAX_ERROR_LENGTH
from beanstalkt.worker.process.captured_output import KEPT, CapturedOutput, describe_failure


def fed(*chunks: bytes) -> CapturedOutput:
    output = CapturedOutput()
    for chunk in chunks:
        output.feed(chunk)
    return output


def test_a_little_is_kept_whole() -> None:
    output = fed(b"one ", b"", b"two")
    assert output.kept() == b"one two"
    assert output.total == 7
    assert output.complete()


@pytest.mark.parametrize("size", [KEPT - 1, KEPT, KEPT + 1, 2 * KEPT - 1, 2 * KEPT])
def test_up_to_the_limit_nothing_is_left_out(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    assert fed(data).kept() == data
    assert fed(data).complete()


def test_of_more_the_middle_is_left_out() -> None:
    output = fed(b"a" * KEPT, b"b" * 1000, b"c" * KEPT)
    assert output.kept() == b"a" * KEPT + b"\n[... 1000 bytes left out ...]\n" + b"c" * KEPT
    assert not output.complete()
    assert output.total == 2 * KEPT + 1000


@given(st.lists(st.integers(0, 70_000), max_size=12))
def test_however_it_is_cut(sizes: list[int]) -> None:
    data = b"".join(bytes([index % 256]) * size for index, size in enumerate(sizes))
    output = CapturedOutput()
    position = 0
    for size in sizes:
        output.feed(data[position : position + size])
        position += size
    assert output.total == len(data)
    kept = output.kept()
    if len(data) <= 2 * KEPT:
        assert kept == data
    else:
        assert kept.startswith(data[:KEPT] + b"\n[")
        assert kept.endswith(b"]\n" + data[-KEPT:])


def test_memory_is_bounded() -> None:
    output = CapturedOutput()
    for _ in range(100):
        output.feed(b"x" * 65536)
    assert len(output._tail) <= 2 * KEPT


# --- stderr ----------------------------------------------------------------------------------


def test_text_is_an_unclassified_error() -> None:
    assert describe_failure(fed(b"it broke\n")) == {
        "exception": "UnclassifiedRunnerError",
        "error": "it broke",
    }


def test_of_a_long_text_the_end_is_taken() -> None:
    error = describe_failure(fed(b"x" * 100_000 + b"the end"))["error"]
    assert isinstance(error, str)
    assert error.endswith("the end")
    assert len(error) == MAX_ERROR_LENGTH


def test_json_says_more() -> None:
    said = {"exception": "NoSuchUser", "error": "bob", "backtrace": ["a", "b"], "other": 1}
    assert describe_failure(fed(json.dumps(said).encode())) == {
        "exception": "NoSuchUser",
        "error": "bob",
        "backtrace": '["a", "b"]',
    }
    assert describe_failure(fed(b' {"error": 5}\n')) == {
        "exception": "UnclassifiedRunnerError",
        "error": "5",
    }


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{}", b'{"other": 1}', b"[1]", b'"error"', b"\xff\xfe", b'{"error":1' * 20_000],
)
def test_json_that_says_nothing_is_text(text: bytes) -> None:
    assert describe_failure(fed(text))["exception"] == "UnclassifiedRunnerError"


def test_json_nested_too_deeply_is_text() -> None:
    text = b'{"error":' * 6000
    assert describe_failure(fed(text))["exception"] == "UnclassifiedRunnerError"


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    fields = describe_failure(fed(data))
    assert all(
        isinstance(value, str) and len(value) <= MAX_ERROR_LENGTH for value in fields.values()
    )
