"""The command line with standard streams that are closed or full, or that have no reader."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..support import program
from ..support.beanstalkd import Beanstalkd, free_port

TIMEOUT = 30.0
"""Seconds after which a program is considered to hang."""

CLOSED = ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]
"""What closes each stream, and all of them, as a shell has it."""

Result = tuple[int, bytes, bytes]


def beanstalkt(server: Beanstalkd | None, *words: str, redirect: str = "") -> Result:
    """Run the command line with redirected streams; return its exit status and output."""
    return ended(start(server, *words, redirect=redirect))


def start(
    server: Beanstalkd | None,
    *words: str,
    redirect: str = "",
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    where = [] if server is None else ["--server", server.url]
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": stderr,
    }
    closed: list[int] = []
    with ExitStack() as files:
        for number, target in re.findall(r"([012])[<>](&-|/\S+)", redirect):
            if target == "&-":
                closed.append(int(number))
            else:
                name = ("stdin", "stdout", "stderr")[int(number)]
                streams[name] = files.enter_context(open(target, "wb")).fileno()
        return program.start(
            *program.COMMAND_LINE, *where, *words, closed=tuple(closed), **streams
        )


def ended(process: subprocess.Popen[bytes]) -> Result:
    with process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    return process.returncode, out or b"", err or b""


def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def put(server: Beanstalkd, body: bytes, tube: bytes = b"mail") -> None:
    reply = server.ask(b"use %b\r\nput 9 0 100 %d\r\n%b\r\n" % (tube, len(body), body))
    assert reply.startswith(b"USING")


def left(server: Beanstalkd, tube: bytes = b"default") -> int:
    """Return how many jobs of the tube are ready or reserved."""
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats-tube %b\r\n" % tube)
        status = replies.readline().split()
        if status[0] != b"OK":
            return 0
        lines = replies.read(int(status[1])).splitlines()
    stats = dict(line.split(b": ") for line in lines if b": " in line)
    return int(stats[b"current-jobs-ready"]) + int(stats[b"current-jobs-reserved"])


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    # With it, a full device would not be noticed as late as for most users: at the exit.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


# --- the verbs ------------------------------------------------------------------------------

VERBS = [
    ("put", "x"),
    ("stats",),
    ("list",),
    ("reserve", "-t", "0"),
    ("peek", "1"),
    ("delete", "1"),
    ("kick",),
    ("pause", "default"),
]


@pytest.mark.parametrize("redirect", CLOSED)
@pytest.mark.parametrize("words", VERBS)
def test_a_verb_without_a_stream(
    beanstalkd: Beanstalkd, words: tuple[str, ...], redirect: str
) -> None:
    put(beanstalkd, b"x", b"default")
    status, out, err = beanstalkt(beanstalkd, *words, redirect=redirect)
    shows = words[0] not in ("delete", "pause")
    if "1>" in redirect and shows:
        assert status == 1
        told = b"beanstalkt: standard output: Bad file descriptor\n"
        if words[0] == "put":
            told = b"beanstalkt: job 2 was put, but its id cannot be printed\n" + told
        assert (out, err) == (b"", b"" if "2>" in redirect else told)
    else:
        assert status == 0
        assert bool(out) == shows
        assert err == b""


@pytest.mark.parametrize("redirect", [*CLOSED, "2>/dev/full"])
def test_what_is_no_result_never_gets_into_the_results(
    beanstalkd: Beanstalkd, redirect: str
) -> None:
    for words, expected in (
        (("delete", "99"), 1),
        (("peek", "99"), 1),
        (("put",), 2),
        (("--nonsense",), 2),
        (("work", "--tube", "mail", "--timeout", "x"), 2),
    ):
        status, out, err = beanstalkt(beanstalkd, *words, redirect=redirect)
        assert (status, out) == (expected, b""), words
        assert bool(err) == ("2>" not in redirect), words
    url = f"beanstalk://127.0.0.1:{free_port()}"
    words = ("--server", url, "--connect-timeout", "0.1", "stats")
    assert beanstalkt(None, *words, redirect=redirect)[:2] == (69, b"")


@pytest.mark.parametrize("words", [("put", "-"), ("put", "--lines", "-")])
def test_nothing_is_put_from_an_input_that_is_closed(
    beanstalkd: Beanstalkd, words: tuple[str, ...]
) -> None:
    status, out, err = beanstalkt(beanstalkd, *words, redirect="0<&-")
    assert (status, out) == (2, b"")
    assert err.endswith(b"cannot read standard input: Bad file descriptor\n")
    assert left(beanstalkd) == 0


def test_lines_are_put_from_a_file_that_gets_the_number_of_a_closed_stream(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_bytes(b"a\nb\n")
    words = ("put", "--lines", str(tmp_path / "lines"))
    for redirect in CLOSED:
        status, _, err = beanstalkt(beanstalkd, *words, redirect=redirect)
        assert b"Traceback" not in err
        assert status == (1 if "1>" in redirect else 0)
    assert left(beanstalkd) == 2 * len(CLOSED)


def test_the_version_and_the_help_without_an_output() -> None:
    for word in ("--version", "--help"):
        status, out, err = beanstalkt(None, word, redirect="1>&-")
        assert (status, out) == (0, b"")
        assert b"beanstalkt" in err
        assert beanstalkt(None, word, redirect="1>/dev/full")[0] == 1
        assert beanstalkt(None, word, redirect="0<&- 1>&- 2>&-") == (0, b"", b"")


@pytest.mark.parametrize("redirect", [*CLOSED, "2>/dev/full"])
def test_a_server_without_a_stream(redirect: str) -> None:
    port = free_port()
    with start(None, "serve", "--port", str(port), redirect=redirect) as process:
        try:
            until(lambda: answers(port), "it listens")
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 0
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as sock:
            sock.sendall(b"stats-job 1\r\n")
            return sock.recv(100) == b"NOT_FOUND\r\n"
    except OSError:
        return False


# --- the runner -----------------------------------------------------------------------------

FUNCTIONS = ("--call", "tests.support.functions:TABLE")


@contextmanager
def web() -> Iterator[tuple[str, list[bytes]]]:
    """Start a web server that keeps the bodies of its requests; give its URL and the bodies."""
    bodies: list[bytes] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Keep) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", bodies
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("redirect", "how"),
    [
        *((redirect, "--burst") for redirect in CLOSED),
        (CLOSED[-1], "--max-jobs=3"),
        (CLOSED[-1], "SIGTERM"),
    ],
)
def test_the_runner_without_a_stream(
    beanstalkd: Beanstalkd, redirect: str, how: str, tmp_path: Path
) -> None:
    """Commands, HTTP requests, coroutine functions and plain functions all do their work."""
    words = [] if how == "SIGTERM" else [how]
    written = tmp_path / "written"

    def run(handler: tuple[str, ...], bodies: list[bytes]) -> None:
        for body in bodies:
            put(beanstalkd, body)
        process = start(beanstalkd, "work", "--tube", "mail", *handler, *words, redirect=redirect)
        if how == "SIGTERM":
            until(lambda: left(beanstalkd, b"mail") == 0, "all jobs are done")
            process.send_signal(signal.SIGTERM)
        status, _, err = ended(process)
        assert status == 0
        assert b"Traceback" not in err
        assert err.count(b"outcome=success") == (0 if "2>" in redirect else 3)
        assert left(beanstalkd, b"mail") == 0

    def lines() -> list[bytes]:
        found = written.read_bytes().splitlines()
        written.unlink()
        return found

    # The shell writes to each of its three descriptors.
    script = f"cat >>{written}; echo >>{written}; echo out; echo err >&2"
    run(("--exec", f"sh -c '{script}'"), [b"a", b"b", b"c"])
    assert lines() == [b"a", b"b", b"c"]
    with web() as (url, bodies):
        run(("--http", url), [b"a", b"b", b"c"])
        assert bodies == [b"a", b"b", b"c"]
    for name in ("says_async", "says"):
        call = json.dumps({"function": name, "args": [str(written)], "kwargs": {}})
        run(FUNCTIONS, [call.encode()] * 3)
        # Each function writes the number of its process: a child is kept from job to job.
        numbers = lines()
        assert len(numbers) == 3
        assert len(set(numbers)) == 1


def test_check_without_a_stream() -> None:
    words = ("work", "--tube", "mail", "--check", "--exec")
    for redirect in CLOSED:
        assert beanstalkt(None, *words, "cat", redirect=redirect)[0] == 0
        status, out, err = beanstalkt(None, *words, "/no/such", redirect=redirect)
        assert (status, out) == (2, b"")
        assert bool(err) == ("2>" not in redirect)


def test_what_cannot_be_written_names_the_stream(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"a\nb\nc\n")
    for words, told in (
        (("work", "--tube", "mail", "--check", "--exec", "cat"), ""),
        (
            ("put", "--lines", str(tmp_path / "lines")),
            "beanstalkt: 3 jobs were put, 1 to 3, but their ids cannot be printed\n",
        ),
    ):
        status, out, err = beanstalkt(beanstalkd, *words, redirect="1>/dev/full")
        told += "beanstalkt: standard output: No space left on device\n"
        assert (status, out, err.decode()) == (1, b"", told), words


# --- a log without a reader -------------------------------------------------------------------


@contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe without room for one byte; give its reading end and its writing end."""
    ours, theirs = os.pipe()
    try:
        os.set_blocking(theirs, False)
        size = fcntl.fcntl(theirs, fcntl.F_GETPIPE_SZ)
        assert os.write(theirs, b"\n" * size) == size
        os.set_blocking(theirs, True)
        yield ours, theirs
    finally:
        os.close(ours)


@pytest.mark.parametrize("words", [("--exec", "cat"), FUNCTIONS])
def test_a_log_that_nobody_reads_keeps_neither_jobs_nor_the_end_waiting(
    beanstalkd: Beanstalkd, words: tuple[str, ...]
) -> None:
    call = json.dumps({"function": "complains_async", "args": [], "kwargs": {}})
    with unread_pipe() as (_, theirs):
        for _ in range(200):
            put(beanstalkd, call.encode())
        process = start(beanstalkd, "work", "--tube", "mail:4", *words, stderr=theirs)
        os.close(theirs)
        until(lambda: left(beanstalkd, b"mail") == 0, "all jobs are done")
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0


def test_a_log_handler_that_a_module_of_functions_makes_keeps_nothing_waiting(
    beanstalkd: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy.py").write_text(
        "import logging\n"
        "log = logging.getLogger('own')\n"
        "log.addHandler(logging.StreamHandler())\n"
        "async def shout(): log.error('x' * 1000)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with unread_pipe() as (_, theirs):
        for _ in range(5):
            put(beanstalkd, b'{"function": "shout", "args": [], "kwargs": {}}')
        words = ("work", "--tube", "mail", "--call", "noisy:shout", "--max-jobs", "5")
        process = start(beanstalkd, *words, stderr=theirs)
        os.close(theirs)
        assert ended(process)[0] == 0
    assert left(beanstalkd, b"mail") == 0


def test_wrong_usage_is_told_to_nobody_in_time(beanstalkd: Beanstalkd) -> None:
    with unread_pipe() as (_, theirs):
        process = start(beanstalkd, "work", "--tube", "mail", "--exec", "/no/such", stderr=theirs)
        os.close(theirs)
        assert ended(process)[0] == 2


def test_a_log_whose_reader_has_gone_keeps_nothing_waiting(beanstalkd: Beanstalkd) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    for _ in range(20):
        put(beanstalkd, b"x")
    process = start(
        beanstalkd, "work", "--tube", "mail", "--exec", "cat", "--burst", stderr=theirs
    )
    os.close(theirs)
    assert ended(process)[0] == 0
    assert left(beanstalkd, b"mail") == 0


def test_what_was_dropped_is_counted_and_told_once_there_is_a_reader(
    beanstalkd: Beanstalkd,
) -> None:
    count = 3000  # a kilobyte each: about three times what may wait
    put(beanstalkd, json.dumps({"function": "floods", "args": [count], "kwargs": {}}).encode())
    words = ("work", "--tube", "mail", *FUNCTIONS, "--log-format", "json")
    with unread_pipe() as (ours, theirs):
        process = start(beanstalkd, *words, stderr=theirs)
        os.close(theirs)
        until(lambda: beanstalkd.ask(b"stats-job 1\r\n").startswith(b"NOT_FOUND"), "it is done")
        with process, open(ours, "rb", closefd=False) as log:
            said: list[dict[str, object]] = []
            while "dropped" not in [line["event"] for line in said[-1:]]:
                if line := log.readline().strip():
                    said.append(json.loads(line))
            process.send_signal(signal.SIGTERM)
            said += map(json.loads, log.read().splitlines())
            assert process.wait(TIMEOUT) == 0
    floods = [line for line in said if str(line.get("message", "")).endswith("xxx")]
    dropped = next(line["lines"] for line in said if line["event"] == "dropped")
    assert isinstance(dropped, int)
    # The line of the job itself is shorter, and may have found room or not.
    assert len(floods) + dropped in (count, count + 1)
    assert 0 < len(floods) < count
    assert "stopping" in [line["event"] for line in said]


def test_progress_on_a_terminal_that_was_stopped(beanstalkd: Beanstalkd) -> None:
    for _ in range(200):
        put(beanstalkd, b"x")
    ours, theirs = pty.openpty()
    os.set_blocking(theirs, False)
    try:
        # Fill the terminal, as after Ctrl-S.
        while True:
            os.write(theirs, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    process = start(
        beanstalkd, "work", "--tube", "mail", "--exec", "false", "--burst", stderr=theirs
    )
    os.close(theirs)
    try:
        assert ended(process)[0] == 0
        assert left(beanstalkd, b"mail") == 0
    finally:
        os.close(ours)
