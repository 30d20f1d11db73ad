"""The lines of a command's output: however the bytes arrive, whatever they are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.process.captured_output import KEPT, CapturedOutput
from beanstalkt.worker.process.shown_output import MAX_LINE, ShownOutput


def lines_of(*chunks: bytes) -> list[str]:
    lines: list[str] = []
    output = ShownOutput(lines.append)
    for chunk in chunks:
        output.feed(chunk)
    output.finish()
    return lines


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((), []),
        ((b"",), []),
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"o", b"ne\nt", b"wo"), ["one", "two"]),
        ((b"\n\n",), ["", ""]),
        ((b"one\r\ntwo\r", b"\n\r\n"), ["one", "two", ""]),
        ((b"10%\r20%\r\n",), ["10%\r20%"]),
        ((b"last\r",), ["last"]),
        ((b"\xff\xfe\0\n",), ["\ufffd\ufffd\0"]),
        (("Grü".encode()[:-1], "Grü".encode()[-1:] + b"\n"), ["Grü"]),
        ((b"x" * MAX_LINE + b"\n",), ["x" * MAX_LINE]),
        ((b"x" * MAX_LINE + b"\r", b"\n"), ["x" * MAX_LINE]),
        ((b"x" * (MAX_LINE + 1) + b"\n",), ["x" * MAX_LINE, "x"]),
        ((b"x" * (MAX_LINE - 1) + "ü\n".encode(),), ["x" * (MAX_LINE - 1), "ü"]),
        ((b"\x80" * (MAX_LINE + 2),), ["\ufffd" * MAX_LINE, "\ufffd" * 2]),
    ],
)
def test_lines(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert lines_of(*chunks) == lines


BYTES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"a", "ü".encode(), "€".encode(), b"\xff", b"\x80", b"x" * (MAX_LINE - 1)]
    ),
    max_size=12,
).map(b"".join)


@given(BYTES, st.lists(st.integers(0, 3 * MAX_LINE), max_size=6))
def test_the_lines_do_not_depend_on_the_reads(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(data)]
    whole = lines_of(data)
    assert lines_of(*(data[a:b] for a, b in itertools.pairwise(places))) == whole
    assert all(len(line) <= MAX_LINE and "\n" not in line for line in whole)
    expected = data.replace(b"\r\n", b"").replace(b"\n", b"").removesuffix(b"\r")
    assert len("".join(whole)) >= len(expected.decode("utf-8", "replace"))


def test_a_line_without_end_is_not_kept() -> None:
    lines: list[str] = []
    output = ShownOutput(lines.append)
    for _ in range(100):
        output.feed(b"x" * 65536)
        assert len(output._rest) <= MAX_LINE + 1
    assert len("".join(lines)) >= 100 * 65536 - MAX_LINE - 1


@given(BYTES)
def test_what_is_kept_for_a_failure_stays_the_same(data: bytes) -> None:
    shown, plain = ShownOutput(lambda line: None), CapturedOutput()
    for each in (shown, plain):
        each.feed(data)
        each.feed(b"y" * KEPT)
    assert shown.kept() == plain.kept()
    assert shown.total == plain.total
