"""The command line as users run it: every verb against a real server, and what can go wrong."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import cmd

from ..support.beanstalkd import HOST, Beanstalkd, free_port
from ..support.embedded import AnyServer
from ..support.program import COMMAND_LINE, start

TIMEOUT = 60
"""Seconds after which a program is considered to hang."""


class Result:
    """The exit status and the output of one run."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err
        assert "Traceback" not in err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEANSTALKD_URL", raising=False)
    # With it, a closed pipe would not be noticed as late as for most users: at the exit.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def run(
    server: AnyServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a verb in this process, which saves the time to start another."""
    monkeypatch.setenv("BEANSTALKD_URL", server.url)

    def run(*words: str) -> Result:
        capfd.readouterr()
        return Result(cmd.main(words), *capfd.readouterr())

    return run


Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start the program in processes of their own, which are killed after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(port: int, *words: str, **kwargs: Any) -> subprocess.Popen[bytes]:
        program = kwargs.pop("program", COMMAND_LINE)
        process = start(
            *[*program, "-H", HOST, "-P", str(port), *words],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs},
        )
        started.append(process)
        return process

    yield spawn
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def finish(process: subprocess.Popen[bytes], written: bytes | None = None) -> Result:
    """Wait for the end of a started program; return its exit status and output."""
    out, err = process.communicate(written, timeout=TIMEOUT)
    return Result(process.returncode, (out or b"").decode(), err.decode())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


def counter(server: AnyServer, name: str, command: bytes = b"stats\r\n") -> int:
    """Ask the server for one of its counters, without the client of this package."""
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(command)
        size = int(replies.readline().split()[1])
        found = re.search(rb"^%b: (\d+)$" % name.encode(), replies.read(size), re.MULTILINE)
        assert found
        return int(found[1])


def wait_for_reserve(server: AnyServer) -> None:
    wait_until(lambda: counter(server, "current-waiting") == 1)


def put(server: AnyServer, body: bytes, priority: int = 2**31) -> None:
    reply = server.ask(b"put %d 0 120 %d\r\n%b\r\n" % (priority, len(body), body))
    assert reply.startswith(b"INSERTED")


# --- the verbs ------------------------------------------------------------------------------


def test_the_two_commands_of_the_first_example(run: Run) -> None:
    assert run("put", "A job to work on").out == "1\n"
    result = run("reserve", "delete")
    assert result.out == '{\n  "body": "A job to work on",\n  "id": 1\n}\n'
    assert result.err == ""
    assert result.status == 0
    assert run("peek", "1").status == 1


def test_put_passes_on_every_option(run: Run) -> None:
    assert run("put", "x", "-p", "7", "-u", "t", "-d", "1000", "-t", "55").out == "1\n"
    stats = run("stats-job", "1").json
    assert stats["tube"] == "t"
    assert stats["pri"] == 7
    assert stats["delay"] == 1000
    assert stats["ttr"] == 55
    assert stats["state"] == "delayed"


@pytest.mark.parametrize("body", [b"", "Grüße".encode(), b"\xff\xfe", b"a\r\nb", b"-5"])
def test_put_sends_the_very_bytes_given(run: Run, body: bytes) -> None:
    assert run("put", os.fsdecode(body)).status == 0
    job = run("peek", "1").json
    if "encoding" in job:
        assert base64.b64decode(job["body"]) == body
    else:
        assert job["body"].encode() == body


def test_the_actions_of_reserve_keep_the_priority(run: Run) -> None:
    run("put", "x", "-p", "7")
    for action, state in (("release", "ready"), ("bury", "buried")):
        assert run("reserve", action).status == 0
        stats = run("stats-job", "1").json
        assert (stats["state"], stats["pri"]) == (state, 7)


def test_the_actions_of_reserve_take_a_new_priority_and_a_delay(run: Run) -> None:
    run("put", "x", "-p", "7")
    run("reserve", "release", "-p", "8", "-d", "1000")
    stats = run("stats-job", "1").json
    assert (stats["state"], stats["pri"], stats["delay"]) == ("delayed", 8, 1000)
    run("kick-job", "1")
    run("reserve", "bury", "-p", "9")
    stats = run("stats-job", "1").json
    assert (stats["state"], stats["pri"]) == ("buried", 9)


def test_reserve_without_an_action_changes_nothing(run: Run) -> None:
    run("put", "x", "-p", "7")
    assert run("reserve").json == {"body": "x", "id": 1}
    wait_until(lambda: run("stats-job", "1").json["state"] == "ready")
    stats = run("stats-job", "1").json
    assert (stats["pri"], stats["reserves"], stats["releases"]) == (7, 1, 0)


def test_reserve_watches_and_ignores(run: Run) -> None:
    run("put", "in default")
    run("put", "in a", "-u", "a")
    run("put", "in b", "-u", "b")
    found = {run("reserve", "delete", "-w", "a", "-w", "b", "-i").json["body"] for _ in "ab"}
    assert found == {"in a", "in b"}
    result = run("reserve", "-t", "0", "-w", "a", "-i")
    assert result.status == 1
    assert result.out == ""
    assert "TIMED_OUT" in result.err
    assert run("reserve", "-t", "0", "-w", "a").json["body"] == "in default"


def test_reserve_job_takes_any_job(run: Run) -> None:
    run("put", "x", "-d", "1000", "-u", "t")
    assert run("reserve-job", "1").json == {"body": "x", "id": 1}
    assert run("reserve-job", "1", "bury", "-p", "3").status == 0
    assert run("stats-job", "1").json["state"] == "buried"
    assert run("reserve-job", "1", "delete").status == 0
    result = run("reserve-job", "1")
    assert result.status == 1
    assert "NOT_FOUND" in result.err


def test_the_peeks_look_at_their_tube(run: Run) -> None:
    run("put", "ready", "-u", "t")
    run("put", "delayed", "-u", "t", "-d", "1000")
    run("put", "buried", "-u", "t", "-p", "1")
    run("reserve", "bury", "-w", "t")
    for state in ("ready", "delayed", "buried"):
        assert run(f"peek-{state}", "-u", "t").json["body"] == state
        assert run(f"peek-{state}").status == 1
    assert run("peek", "1").json["body"] == "ready"


def test_delete_goes_on_past_a_job_that_is_gone(run: Run) -> None:
    run("put", "x")
    run("put", "y")
    result = run("delete", "1", "7", "2")
    assert result.status == 1
    assert result.out == ""
    assert result.err.startswith("beanstalkt: job 7: delete: NOT_FOUND")
    assert len(result.err.splitlines()) == 1
    assert run("stats").json["current-jobs-ready"] == 0


def test_kick_tells_how_many_it_kicked(run: Run) -> None:
    for _ in range(3):
        run("put", "x", "-u", "t", "-d", "1000")
    assert run("kick", "-u", "t").out == "1\n"
    assert run("kick", "-u", "t", "-b", "10").out == "2\n"
    assert run("kick").out == "0\n"


def test_kick_job_takes_several(run: Run) -> None:
    run("put", "x", "-d", "1000")
    run("put", "y", "-d", "1000")
    result = run("kick-job", "1", "2")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert run("kick-job", "1").status == 1
    assert run("stats").json["current-jobs-ready"] == 2


def test_stats_and_lists_are_json(run: Run) -> None:
    run("put", "x", "-u", "007")
    assert run("stats").json["current-jobs-ready"] == 1
    assert run("stats-tube", "007").json["name"] == "007"
    assert run("stats-job", "1").json["tube"] == "007"
    for verb in ("list", "list-tubes"):
        assert sorted(run(verb).json) == ["007", "default"]
    assert run("stats-tube", "none").status == 1
    assert run("stats-job", "9").status == 1


def test_pause_pauses_and_ends_a_pause(run: Run) -> None:
    run("put", "x", "-u", "t")
    result = run("pause", "t", "-d", "1000")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert run("stats-tube", "t").json["pause"] == 1000
    run("pause", "t")
    assert run("stats-tube", "t").json["pause"] == 0
    assert run("pause", "none", "-d", "1").status == 1


def test_no_verb_leaves_a_job_or_a_connection_behind(run: Run, server: AnyServer) -> None:
    run("put", "x")
    run("reserve")
    wait_until(lambda: counter(server, "current-connections") == 1)
    assert counter(server, "current-jobs-reserved") == 0


def test_serve_runs_a_server(spawn: Spawn) -> None:
    with start(*COMMAND_LINE, "serve", "--port", "0", stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr
            found = re.search(rb"//[^:]+:(\d+)", server.stderr.readline())
            assert found
            assert finish(spawn(int(found[1]), "put", "x")).out == "1\n"
        finally:
            server.terminate()
        assert server.wait(TIMEOUT) == 0


# --- input ----------------------------------------------------------------------------------


def test_put_takes_a_body_from_standard_input(server: AnyServer, spawn: Spawn) -> None:
    body = os.urandom(65535)
    result = finish(spawn(server.port, "put", "-", stdin=subprocess.PIPE), body)
    assert (result.status, result.out) == (0, "1\n")
    job = finish(spawn(server.port, "peek", "1")).json
    assert base64.b64decode(job["body"]) == body


def test_a_body_that_is_far_too_big_is_refused(server: AnyServer, spawn: Spawn) -> None:
    result = finish(spawn(server.port, "put", "-", stdin=subprocess.PIPE), bytes(10**8))
    assert result.status == 1
    assert result.out == ""
    assert result.err.startswith("beanstalkt: put: JOB_TOO_BIG: ")
    assert len(result.err.splitlines()) == 1


def test_put_says_so_when_standard_input_is_closed(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "put", "-", closed=(0,))
    result = finish(process)
    assert result.status == 2
    assert "cannot read standard input" in result.err


def test_put_lines_makes_a_job_of_every_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(b"one\n\r\n\nf\xffour\r\nfive")
    result = run("put", "--lines", str(file), "-u", "t", "-p", "7")
    assert (result.status, result.out, result.err) == (0, "1\n2\n3\n4\n5\n", "")
    bodies = [run("peek", str(job_id)).json["body"] for job_id in (1, 2, 3, 5)]
    assert bodies == ["one", "", "", "five"]
    assert run("stats-job", "5").json["pri"] == 7
    assert run("stats-tube", "t").json["current-jobs-ready"] == 5


def test_put_lines_of_nothing_puts_nothing(run: Run) -> None:
    result = run("put", "--lines", os.devnull)
    assert (result.status, result.out, result.err) == (0, "", "")


def test_put_lines_tells_what_went_in_when_one_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_bytes(b"one\n" + b"x" * 70000 + b"\nthree\n")
    result = run("put", "--lines", str(file))
    assert result.status == 1
    assert "JOB_TOO_BIG" in result.err
    assert "line 2" in result.err
    ids = result.out.split()
    assert ids[0] == "1"
    for job_id in ids:
        assert run("peek", job_id).status == 0
    assert run("stats").json["current-jobs-ready"] == len(ids)


def test_a_line_is_put_as_soon_as_it_is_written(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "put", "--lines", "-", stdin=subprocess.PIPE, bufsize=0)
    assert process.stdin
    assert process.stdout
    for expected in (b"1\n", b"2\n"):
        process.stdin.write(b"line\n")
        assert process.stdout.readline() == expected
    process.stdin.write(b"the last")
    result = finish(process)
    assert (result.status, result.out) == (0, "3\n")


def test_many_lines_take_no_more_memory_than_one(
    server: AnyServer, spawn: Spawn, tmp_path: Path
) -> None:
    program = (
        "import sys\n"
        "from beanstalkt import cmd\n"
        "status = cmd.main(sys.argv[1:])\n"
        # The maximum of getrusage would include that of the process before the exec.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024, file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    file = tmp_path / "jobs"
    used = []
    for lines in (1, 100_000):
        file.write_bytes(b"%0199d\n" % 7 * lines)
        words = ["put", "--lines", str(file)]
        result = finish(spawn(server.port, *words, program=["-c", program]))
        assert result.status == 0
        assert result.out.count("\n") == lines
        used.append(int(result.err))
    assert used[1] < used[0] + 10, "MB, for 20 MB of lines"


# --- a terminal -----------------------------------------------------------------------------


def on_terminal(process: Callable[[int], subprocess.Popen[bytes]]) -> str:
    """Return what a program writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    # A new terminal has no columns, and no room for the bar.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        started = process(theirs)
    finally:
        os.close(theirs)
    written = b""
    try:
        while select.select([ours], [], [], TIMEOUT)[0] and (more := os.read(ours, 65536)):
            written += more
    except OSError:  # reading a terminal ends with this error
        pass
    finally:
        os.close(ours)
    started.communicate(timeout=TIMEOUT)
    assert started.returncode == 0
    return written.decode()


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    """A file of a hundred lines."""
    file = tmp_path / "jobs"
    file.write_bytes(b"a job\n" * 100)
    return str(file)


def test_put_lines_shows_a_bar_on_a_terminal(server: AnyServer, spawn: Spawn, jobs: str) -> None:
    pytest.importorskip("tqdm")
    words = ["put", "--lines", jobs]
    written = on_terminal(lambda stderr: spawn(server.port, *words, stderr=stderr))
    assert "100%" in written


def test_the_bar_does_without_a_size(
    server: AnyServer, spawn: Spawn, jobs: str, tmp_path: Path
) -> None:
    pytest.importorskip("tqdm")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ["put", "--lines", str(pipe)]

    def put_piped(stderr: int) -> subprocess.Popen[bytes]:
        process = spawn(server.port, *words, stderr=stderr)
        pipe.write_bytes(Path(jobs).read_bytes())
        return process

    assert "600B" in on_terminal(put_piped)


def test_put_lines_does_without_a_bar(server: AnyServer, spawn: Spawn, jobs: str) -> None:
    program = (
        "import sys; sys.modules['tqdm'] = None\n"
        "from beanstalkt import cmd; sys.exit(cmd.main(sys.argv[1:]))"
    )
    without = {"program": ["-c", program]}
    words = ["put", "--lines", jobs]
    written = on_terminal(lambda stderr: spawn(server.port, *words, stderr=stderr, **without))
    assert written == ""


# --- output that cannot be written ------------------------------------------------------------


def test_a_reader_that_goes_away_is_met_with_silence(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "stats")
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(TIMEOUT) == 141


def test_help_without_a_reader_is_met_with_silence() -> None:
    line = f"{sys.executable} -m beanstalkt.cmd -h | true"
    done = subprocess.run(line, shell=True, capture_output=True, timeout=TIMEOUT, check=True)
    assert done.stderr == b""


@pytest.mark.parametrize("words", [("reserve", "delete"), ("reserve-job", "1", "delete")])
def test_a_job_that_could_not_be_shown_is_not_deleted(
    server: AnyServer, words: tuple[str, ...], spawn: Spawn
) -> None:
    put(server, b"x")
    with Path("/dev/full").open("wb") as full:
        result = finish(spawn(server.port, *words, stdout=full))
    assert result.status == 1
    assert result.err == "beanstalkt: standard output: No space left on device\n"
    result = finish(spawn(server.port, *words, closed=(1,)))
    assert result.status == 1
    assert result.err == "beanstalkt: standard output: Bad file descriptor\n"
    wait_until(lambda: counter(server, "current-jobs-ready") == 1)


# --- the server goes away -------------------------------------------------------------------


def test_no_server_is_told_in_time(run: Run) -> None:
    result = run("--connect-timeout", "1", "-P", str(free_port()), "stats")
    assert result.status == 69
    assert result.out == ""
    assert "Connection refused" in result.err


def test_a_host_that_does_not_exist_is_told(run: Run) -> None:
    result = run("--connect-timeout", "1", "-H", "host.invalid", "stats")
    assert result.status == 69
    assert "host.invalid" in result.err


def test_a_bad_environment_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", "localhost:11300")
    result = run("stats")
    assert result.status == 2
    assert result.err.startswith("beanstalkt: BEANSTALKD_URL: bad URL")


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A listening socket, for a peer that is not a server."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(TIMEOUT)
        yield listener


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 5000])
def test_a_peer_that_is_no_server_is_told(
    peer: socket.socket, spawn: Spawn, answer: bytes
) -> None:
    process = spawn(peer.getsockname()[1], "stats")
    connection, _ = peer.accept()
    with connection:
        assert connection.recv(100) == b"stats\r\n"
        connection.sendall(answer)
    result = finish(process)
    assert result.status == 69
    assert result.out == ""
    assert result.err.startswith("beanstalkt: ")


@pytest.mark.parametrize(
    "words",
    [
        ["stats"],
        ["put", "x"],
        ["put", "--lines", __file__],
        ["delete", "7", "8"],
        ["peek-ready", "-u", "t"],
        ["reserve-job", "7"],
        ["reserve", "-t", "0"],
        ["reserve", "-t", "1"],
        ["reserve", "-w", "t"],
        ["pause", "t"],
    ],
    ids=" ".join,
)
def test_a_server_that_is_silent_holds_no_command(
    peer: socket.socket, spawn: Spawn, words: list[str]
) -> None:
    """The listening socket accepts what comes, and answers nothing."""
    result = finish(spawn(peer.getsockname()[1], "--timeout", "300ms", *words))
    assert result.status == 69
    assert result.out == ""
    assert "no reply" in result.err or "no server answered" in result.err
    if words[0] != "reserve":
        assert f"(beanstalk://{HOST}:{peer.getsockname()[1]})\n" in result.err
        if "--lines" not in words:  # it ends with its connection, and says so once
            assert "again" not in result.err


def test_lines_that_are_awaited_outlive_the_connection(
    beanstalkd: Beanstalkd, spawn: Spawn
) -> None:
    process = spawn(beanstalkd.port, "put", "--lines", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"before\n")
    process.stdin.flush()
    wait_until(lambda: counter(beanstalkd, "current-jobs-ready") == 1)
    beanstalkd.restart()
    # It says so at once, not only with the next line.
    assert select.select([process.stderr], [], [], TIMEOUT)[0]
    assert b"connecting again" in process.stderr.readline()
    wait_until(lambda: counter(beanstalkd, "current-connections") == 2)
    process.stdin.write(b"after\n")
    assert finish(process).status == 0
    assert counter(beanstalkd, "current-jobs-ready") == 1


def test_a_silent_server_is_given_up_after_5_seconds(peer: socket.socket, spawn: Spawn) -> None:
    begin = time.monotonic()
    result = finish(spawn(peer.getsockname()[1], "stats"))
    assert result.status == 69
    assert time.monotonic() - begin > 4.9
    # An end is certain, since `finish` waits for 30 s; the client's own limit would be 60 s.


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 5000])
@pytest.mark.parametrize("timeout", ["0", "1"])
def test_a_reserve_from_what_is_no_server_is_told(
    peer: socket.socket, spawn: Spawn, answer: bytes, timeout: str
) -> None:
    """Each connection is ended after the answer, so the client connects again."""
    process = spawn(peer.getsockname()[1], "reserve", "-t", timeout)
    peer.settimeout(0.05)
    while process.poll() is None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            connection, _ = peer.accept()
            with connection:
                connection.settimeout(1)
                connection.recv(100)
                connection.sendall(answer)
    result = finish(process)
    assert result.status == 69
    assert result.out == ""
    assert result.err.startswith("beanstalkt: ")


def test_no_job_in_time_is_said_by_the_server(run: Run) -> None:
    for timeout in ("0", "1"):
        result = run("reserve", "-t", timeout)
        assert result.status == 1
        assert "TIMED_OUT" in result.err


def test_a_port_without_tls_is_told(peer: socket.socket, spawn: Spawn) -> None:
    url = f"beanstalks://{HOST}:{peer.getsockname()[1]}"
    words = ["--server", url, "--connect-timeout", "1", "stats"]
    process = start(*COMMAND_LINE, *words, stdout=-1, stderr=-1)
    with process:
        result = finish(process)
    assert result.status == 69
    assert "did not answer the TLS handshake" in result.err


def test_durations_reach_the_server(run: Run) -> None:
    assert run("put", "x", "-d", "1h30m", "-t", "5m").status == 0
    stats = run("stats-job", "1").json
    assert (stats["delay"], stats["ttr"]) == (5400, 300)


def test_what_is_missing_is_named(run: Run) -> None:
    assert "job 99 does not exist" in run("peek", "99").err
    assert "tube nowhere does not exist" in run("stats-tube", "nowhere").err
    assert "tube mail has no job in this state" in run("peek-buried", "-u", "mail").err


def test_a_put_whose_server_dies_is_told(peer: socket.socket, spawn: Spawn) -> None:
    process = spawn(peer.getsockname()[1], "put", "x")
    connection, _ = peer.accept()
    with connection:
        assert connection.recv(100).startswith(b"put ")
    result = finish(process)
    assert result.status == 69
    assert result.out == ""
    assert "the server closed the connection" in result.err
    assert "may have carried out the command" in result.err


def test_a_waiting_reserve_ends_with_its_server(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "--connect-timeout", "0.5", "reserve")
    wait_for_reserve(server)
    server.kill()
    result = finish(process)
    assert result.status == 69
    assert "the server closed the connection" in result.err
    assert "within 0.5 s" in result.err


def test_a_waiting_reserve_outlives_a_restart(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "--connect-timeout", "20", "reserve", "delete")
    wait_for_reserve(server)
    server.restart()
    wait_for_reserve(server)
    put(server, b"x")
    result = finish(process)
    assert result.status == 0
    assert result.json == {"body": "x", "id": 1}


# --- interrupted ----------------------------------------------------------------------------


def test_an_interrupted_reserve_is_quiet_and_keeps_no_job(server: AnyServer, spawn: Spawn) -> None:
    process = spawn(server.port, "reserve", "delete")
    wait_for_reserve(server)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.status, result.out, result.err) == (130, "", "")
    wait_until(lambda: counter(server, "current-connections") == 1)
    put(server, b"x")
    assert counter(server, "current-jobs-ready") == 1


def test_no_job_is_lost_by_an_interrupt_at_its_arrival(server: AnyServer, spawn: Spawn) -> None:
    for _ in range(5):
        process = spawn(server.port, "reserve")
        wait_for_reserve(server)
        process.send_signal(signal.SIGINT)
        put(server, b"x")
        result = finish(process)
        assert result.status in (0, 130)
        assert result.err == ""
        wait_until(lambda: counter(server, "current-connections") == 1)
        assert counter(server, "current-jobs-ready") == 1
        assert server.ask(b"kick 0\r\n") == b"KICKED 0\r\n"
        finish(spawn(server.port, "reserve", "delete"))


def test_an_interrupt_settles_the_jobs_that_were_printed(server: AnyServer, spawn: Spawn) -> None:
    put(server, b"x")
    put(server, b"y")
    process = spawn(server.port, "reserve", "-n", "9", "--json-lines", "release", "-d", "60")
    wait_for_reserve(server)
    wait_until(lambda: counter(server, "current-jobs-reserved") == 2)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.status == 130
    assert [json.loads(line)["body"] for line in result.out.splitlines()] == ["x", "y"]
    assert result.err == "beanstalkt: 2 of 9 jobs were reserved and printed\n"
    assert counter(server, "current-jobs-delayed") == 2


@pytest.mark.parametrize("words", [("put", "-"), ("put", "--lines", "-")])
def test_an_interrupt_while_standard_input_is_awaited(
    server: AnyServer, words: tuple[str, ...], spawn: Spawn
) -> None:
    process = spawn(server.port, *words, stdin=subprocess.PIPE)
    wait_until(lambda: counter(server, "current-connections") == 2)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.status, result.out, result.err) == (130, "", "")


def test_an_interrupt_while_there_is_no_server(spawn: Spawn) -> None:
    process = spawn(free_port(), "--connect-timeout", "1000", "stats")
    assert process.stderr
    first = process.stderr.readline()
    assert b"cannot connect" in first
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.status, result.out, result.err) == (130, "", "")
