from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.reader import OVERLONG, Reader


def lines(data: bytes) -> list[bytes]:
    reader = Reader()
    reader.feed(data)
    found = []
    while (line := reader.line()) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"\r\n", [b""]),
        (b"one\r\ntwo\r\nthr", [b"one", b"two"]),
        (b"LF\nis nothing\r\n", [b"LF\nis nothing"]),
        (b"l" * 222 + b"\r\nnext\r\n", [b"l" * 222, b"next"]),
        # One byte more, and the line after it is swallowed; several more, and it is not.
        (b"l" * 223 + b"\r\n", []),
        (b"l" * 223 + b"\r\nnext\r\nlast\r\n", [OVERLONG, b"last"]),
        (b"l" * 224 + b"\r\nnext\r\n", [OVERLONG, b"next"]),
        (b"l" * 447 + b"\r\nnext\r\nlast\r\n", [OVERLONG, b"last"]),
        (b"l" * 100_000 + b"\r\nnext\r\n", [OVERLONG, b"next"]),
        # A stray CR hides the end of the line, for as long as a window lasts.
        (b"a\rb\r\nnext\r\n", []),
        (b"a\r" + b"b" * 222 + b"next\r\nlast\r\n", [OVERLONG, b"last"]),
    ],
)
def test_lines(data: bytes, found: list[bytes]) -> None:
    assert lines(data) == found


@given(st.data())
def test_how_the_bytes_are_cut_changes_nothing(data: st.DataObject) -> None:
    pieces = data.draw(
        st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"word", b"l" * 100, b"l" * 221]))
    )
    stream = b"".join(pieces)
    reader = Reader()
    found = []
    position = 0
    while position < len(stream):
        size = data.draw(st.integers(1, 300))
        reader.feed(stream[position : position + size])
        position += size
        while (line := reader.line()) is not None:
            found.append(line)
    assert found == lines(stream)


@given(st.integers(1, 50), st.binary(max_size=200))
def test_a_body_may_come_in_any_pieces(size: int, body: bytes) -> None:
    reader = Reader()
    found = reader.body(len(body))
    for start in range(0, len(body), size):
        assert found is None
        reader.feed(body[start : start + size])
        found = reader.body(len(body))
    assert found == body
    reader.feed(b"line\r\n")
    assert reader.line() == b"line"


def test_what_is_skipped_is_not_kept() -> None:
    reader = Reader()
    reader.skip(10_000_000)
    for _ in range(99):
        reader.feed(b"x" * 100_000)
        assert not reader.skipped()
        assert reader.buffered == 0
    reader.feed(b"x" * 100_000 + b"line\r\n")
    assert reader.skipped()
    assert reader.line() == b"line"


def test_an_endless_line_is_not_kept() -> None:
    reader = Reader()
    for _ in range(1000):
        reader.feed(b"l" * 1000)
        assert reader.line() is None
        assert reader.buffered < 224
