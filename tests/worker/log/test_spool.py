"""Standard error that keeps nobody waiting."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.log.spool import LIMIT, Spool, text_stream

TIMEOUT = 20.0
"""Seconds; what takes longer hangs."""


class Pipe:
    """A pipe with a spool at its writing end."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.pipe()
        self.spool = Spool(self.theirs, lambda lines: f"{lines} dropped")
        self.text = text_stream(self.spool)
        self.read = b""

    def fill(self) -> int:
        """Leave no room in the pipe."""
        size = fcntl.fcntl(self.theirs, fcntl.F_GETPIPE_SZ)
        assert os.write(self.theirs, b"." * size) == size
        return size

    def until(self, condition: Callable[[bytes], bool]) -> bytes:
        """Read until what was read is enough."""
        while not condition(self.read):
            assert select.select([self.ours], [], [], TIMEOUT)[0], self.read[-1000:]
            self.read += os.read(self.ours, 2**16)
        return self.read

    def close(self) -> None:
        # Whatever the thread waits for, it has it now.
        os.close(self.ours)
        self.spool.finish(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while "standard error" in [thread.name for thread in threading.enumerate()]:
            assert time.monotonic() < deadline, "the thread has not ended"
            time.sleep(0.001)
        os.close(self.theirs)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_what_is_written_arrives_in_its_order(pipe: Pipe) -> None:
    lines = [f"line {number}" for number in range(5000)]
    for line in lines:
        print(line, file=pipe.text)
    assert pipe.until(lambda read: read.endswith(b"4999\n")).decode().splitlines() == lines


def test_a_line_of_its_own_is_written_at_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = threading.Event()
    monkeypatch.setattr(time, "sleep", lambda _: gathered.wait(TIMEOUT))
    try:
        pipe.text.write("alone\n")
        assert pipe.until(lambda read: read.endswith(b"\n")) == b"alone\n"
    finally:
        gathered.set()


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_lines_go_whole_into_what_a_pipe_takes_in_one_piece(sizes: list[int]) -> None:
    written: list[bytes] = []

    class Kept(Spool):
        def _put(self, data: bytes, counts: bool = True) -> bool:
            written.append(data)
            return True

    spool = Kept(-1, str)
    pieces = [b"x" * size + b"\n" for size in sizes]
    spool.finish(TIMEOUT)
    written.clear()
    spool._put_all(pieces)
    assert b"".join(written) == b"".join(pieces)
    for piece in written:
        assert len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1
        assert not piece or piece.endswith(b"\n")


def test_where_nobody_reads_writing_returns_and_what_is_too_much_is_counted(pipe: Pipe) -> None:
    pipe.fill()
    line = "x" * 999
    count = 3 * LIMIT // 1000
    for _ in range(count):
        print(line, file=pipe.text)

    def dropped(read: bytes) -> int:
        return sum(int(told.split()[0]) for told in read.splitlines() if b"dropped" in told)

    def lines(read: bytes) -> int:
        return read.count(line.encode() + b"\n")

    pipe.until(lambda read: lines(read) + dropped(read) == count)
    assert dropped(pipe.read)
    # What the thread had in its hands is not in the queue.
    assert LIMIT - 2000 <= lines(pipe.read) * 1000 <= 2 * LIMIT
    told = dropped(pipe.read)
    print("again", file=pipe.text)
    assert dropped(pipe.until(lambda read: b"again\n" in read)) == told


def test_one_piece_that_is_larger_than_the_limit_is_written(pipe: Pipe) -> None:
    pipe.text.write("x" * 2 * LIMIT + "\n")
    assert len(pipe.until(lambda read: read.endswith(b"\n"))) == 2 * LIMIT + 1


def test_the_count_of_what_waits_may_be_wrong_without_harm(pipe: Pipe) -> None:
    """It has no lock: two threads may leave a number that is too large."""
    pipe.spool._waiting = LIMIT
    print("taken", file=pipe.text)
    assert pipe.until(lambda read: read.endswith(b"\n")) == b"taken\n"


def test_the_end_waits_for_what_has_not_been_written(pipe: Pipe) -> None:
    for number in range(1000):
        print(number, file=pipe.text)
    pipe.spool.finish(TIMEOUT)
    os.set_blocking(pipe.ours, False)
    assert os.read(pipe.ours, 2**16).endswith(b"999\n")
    print("after the end", file=pipe.text)
    assert os.read(pipe.ours, 2**16) == b"after the end\n"


def test_the_end_waits_for_so_long_only(pipe: Pipe) -> None:
    pipe.fill()
    print("waits", file=pipe.text)
    pipe.spool.finish(0.01)
    print("waits too", file=pipe.text)
    assert pipe.until(lambda read: read.endswith(b"waits too\n")).endswith(b".waits\nwaits too\n")


def test_a_descriptor_that_was_set_not_to_block(pipe: Pipe) -> None:
    filled = pipe.fill()
    os.set_blocking(pipe.theirs, False)
    lines = [f"line {number} " + "x" * 500 for number in range(500)]
    for line in lines:
        print(line, file=pipe.text)
    read = pipe.until(lambda read: read.count(b"\n") == len(lines))
    assert read[filled:].decode().splitlines() == lines


def test_what_cannot_be_written_is_counted_and_the_next_line_arrives(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    failed = threading.Event()

    def full(fd: int, data: bytes) -> int:
        if fd != pipe.theirs or failed.is_set():
            return real(fd, data)
        failed.set()
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    print("lost", file=pipe.text)
    assert failed.wait(TIMEOUT)
    print("here", file=pipe.text)
    assert pipe.until(lambda read: read.count(b"\n") == 2) in (
        b"1 dropped\nhere\n",
        b"here\n1 dropped\n",
    )


def test_a_copy_of_the_process_writes_for_itself(pipe: Pipe) -> None:
    pid = os.fork()
    if not pid:
        print("the copy", file=pipe.text)
        pipe.spool.finish(TIMEOUT)
        os._exit(0)
    os.waitpid(pid, 0)
    assert pipe.until(lambda read: read.endswith(b"\n")) == b"the copy\n"


def test_without_a_thread_it_is_written_all_the_same(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    spool = Spool(pipe.theirs, str)
    print("direct", file=text_stream(spool))
    spool.finish()
    assert pipe.until(lambda read: read.endswith(b"\n")) == b"direct\n"


def test_it_is_a_stream_as_programs_expect_one(pipe: Pipe) -> None:
    assert pipe.text.fileno() == pipe.theirs
    assert not pipe.text.isatty()
    assert pipe.text.writable()
    pipe.text.write("half \ud800 ä")
    pipe.text.write("\n")
    assert pipe.until(lambda read: read.endswith(b"\n")) == b"half \\ud800 \xc3\xa4\n"
