"""The verb serve: the embedded server as a program."""

from __future__ import annotations

import argparse
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest

from beanstalkt.cli.serve import _allow_many_connections, add_arguments

PROGRAM = """
import argparse, sys
from beanstalkt.cli.serve import add_arguments, serve
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(serve(parser.parse_args()))
"""


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the program; give its process and the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, *arguments],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            process.kill()


def ask(sock: socket.socket, command: bytes) -> bytes:
    sock.sendall(command)
    return sock.recv(1000)


def test_it_says_where_it_listens_and_that_it_keeps_nothing() -> None:
    with serving("--port", "0") as (process, line):
        found = re.search(r"listening on beanstalk://127\.0\.0\.1:(\d+), .* in memory", line)
        assert found, line
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as sock:
            assert ask(sock, b"put 0 0 1 0\r\n\r\n") == b"INSERTED 1\r\n"
            process.send_signal(signal.SIGUSR1)
            assert process.stderr is not None
            assert "draining" in process.stderr.readline()
            assert ask(sock, b"put 0 0 1 0\r\n\r\n") == b"DRAINING\r\n"
            process.send_signal(signal.SIGTERM)
            assert sock.recv(10) == b""
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_it_cleanly() -> None:
    with serving("--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_unix_socket_and_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving("--unix", str(path), "--max-job-size", "3") as (process, line):
        assert f"listening on unix://{path}," in line
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            assert ask(sock, b"put 0 0 1 4\r\nbody\r\n") == b"JOB_TOO_BIG\r\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving("--port", str(port)) as (process, line):
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
            assert process.wait(10) == 1


def test_a_host_that_is_none_is_told() -> None:
    with serving("--port", "0", "--host", "no host") as (process, line):
        assert "cannot listen on no host:0" in line
        assert process.wait(10) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "65536"], "port must be from 0 to 65535"),
        (["--port", "-1"], "port must be from 0 to 65535"),
        (["--port", "x"], "'x' is not a whole number"),
        (["--max-job-size", "1073741825"], "job size must be from 0 to 1073741824"),
    ],
)
def test_a_bad_number_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_it_listens_on_loopback_only_unless_told_otherwise() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args([]).host == "127.0.0.1"


def test_it_allows_itself_as_many_connections_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: limits.append(limit))
    _allow_many_connections()
    assert limits == [(4096, 4096)]
    monkeypatch.setattr(resource, "setrlimit", Mock(side_effect=ValueError))
    _allow_many_connections()  # with those that it may have


def test_its_letters_are_those_of_the_other_verbs() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["-H", "::1", "-P", "11301"])
    assert (options.host, options.port) == ("::1", 11301)
