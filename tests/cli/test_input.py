"""Lines are whole wherever the bytes are split, and are returned as soon as they arrive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.cli import input as module
from beanstalkt.cli.input import Lines, read_all, read_some
from beanstalkt.errors import InvalidArgument


def lines_of(*chunks: bytes) -> list[bytes]:
    lines = Lines()
    return [line for chunk in chunks for line in lines.feed(chunk)] + lines.end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"\n", [b""]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"a\r", [b"a\r"]),
        (b"\0\xff\n", [b"\0\xff"]),
        (b"a\x0bb\x0cc\x85d\n", [b"a\x0bb\x0cc\x85d"]),
    ],
)
def test_only_lf_and_cr_lf_end_a_line(text: bytes, expected: list[bytes]) -> None:
    assert lines_of(text) == expected
    assert lines_of(*(bytes([byte]) for byte in text)) == expected


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b"")), min_size=1), st.data())
def test_lines_survive_any_split(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(line + b"\r\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert lines_of(*chunks) == lines


def test_a_line_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOB", 1000)
    lines = Lines()
    assert lines.feed(b"x" * 999 + b"\n" + b"y" * 600) == [b"x" * 999]
    with pytest.raises(InvalidArgument, match="1 GiB"):
        lines.feed(b"y" * 401)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: its reading end and its writing end, which the test closes."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


async def test_a_pipe_is_read_as_it_is_written(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    for text in (b"one", b"two"):
        coming = asyncio.ensure_future(read_some(reader))
        await asyncio.sleep(0)
        assert not coming.done()
        os.write(writer, text)
        assert await coming == text
    os.close(writer)
    assert await read_some(reader) == b""


async def test_waiting_for_a_pipe_can_be_cancelled(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    reading = asyncio.ensure_future(read_all(reader))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not asyncio.get_running_loop().remove_reader(reader)
    os.close(writer)


async def test_a_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "body"
    body = os.urandom(2 * module.CHUNK + 1)
    file.write_bytes(body)
    with file.open("rb") as opened:
        assert await read_all(opened.fileno()) == body


async def test_input_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOB", 3 * module.CHUNK)
    with Path("/dev/zero").open("rb") as opened, pytest.raises(InvalidArgument, match="1 GiB"):
        await read_all(opened.fileno())
