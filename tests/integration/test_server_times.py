"""What time does in the embedded server, side by side with a real one; and where they differ.

Exact times are the business of ``tests/server/test_engine.py``, whose clock stands still.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ..support.beanstalkd import EXECUTABLE, Beanstalkd
from ..support.embedded import Embedded

Server = Beanstalkd | Embedded

EARLY = 0.02  # seconds; clocks differ a little

LATE = 8.0  # seconds; the machine may be busy, and 1.12 is not exact


@pytest.fixture(params=["embedded", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "real" and EXECUTABLE is None:
        pytest.skip("beanstalkd is not installed")
    server: Server = Embedded() if request.param == "embedded" else Beanstalkd()
    server.start()
    yield server
    server.stop()


class Talk:
    """A connection with a tube of its own."""

    def __init__(self, server: Server, tube: bytes) -> None:
        self.sock = server.connect()
        self.replies = self.sock.makefile("rb")
        for verb in (b"use", b"watch"):
            self.ask(verb + b" " + tube)

    def ask(self, command: bytes) -> bytes:
        """The next line that comes."""
        self.sock.sendall(command + b"\r\n")
        return self.replies.readline().rstrip()

    def job(self, command: bytes) -> bytes:
        """The same for a reply with a body, which is empty here."""
        line = self.ask(command)
        self.replies.readline()
        return line

    def close(self) -> None:
        self.replies.close()
        self.sock.close()


def put(talk: Talk, delay: int, ttr: int) -> bytes:
    return talk.ask(b"put 0 %d %d 0\r\n" % (delay, ttr)).split()[1]


def a_delay_passes(talk: Talk) -> tuple[bool, float]:
    began = time.monotonic()
    job = put(talk, 1, 60)
    line = talk.job(b"reserve")
    return line == b"RESERVED %b 0" % job, time.monotonic() - began


def a_timeout_passes(talk: Talk) -> tuple[bool, float]:
    began = time.monotonic()
    line = talk.ask(b"reserve-with-timeout 1")
    return line == b"TIMED_OUT", time.monotonic() - began


def a_pause_passes(talk: Talk) -> tuple[bool, float]:
    job = put(talk, 0, 60)
    began = time.monotonic()
    paused = talk.ask(b"pause-tube pause 1")
    line = talk.job(b"reserve")
    return (paused, line) == (b"PAUSED", b"RESERVED %b 0" % job), time.monotonic() - began


def the_last_second_begins(talk: Talk) -> tuple[bool, float]:
    put(talk, 0, 2)
    began = time.monotonic()
    talk.job(b"reserve")
    line = talk.ask(b"reserve")
    return line == b"DEADLINE_SOON", time.monotonic() - began


def a_delay_of_a_release_passes(talk: Talk) -> tuple[bool, float]:
    job = put(talk, 0, 60)
    talk.job(b"reserve")
    began = time.monotonic()
    talk.ask(b"release %b 0 1" % job)
    line = talk.job(b"reserve")
    return line == b"RESERVED %b 0" % job, time.monotonic() - began


def a_second_of_ttr_passes(talk: Talk) -> tuple[bool, float]:
    job = put(talk, 0, 1)
    began = time.monotonic()
    talk.job(b"reserve")
    while b"\nstate: ready" not in (stats := data(talk, b"stats-job %b" % job)):
        time.sleep(0.05)
    return b"\ntimeouts: 1\n" in stats, time.monotonic() - began


def data(talk: Talk, command: bytes) -> bytes:
    size = int(talk.ask(command).split()[1])
    return talk.replies.read(size + 2)


TOGETHER = (
    a_delay_passes,
    a_timeout_passes,
    a_pause_passes,
    the_last_second_begins,
    a_delay_of_a_release_passes,
)

# 1.12 may overlook the end of a ttr while other connections are busy.
ALONE = (a_second_of_ttr_passes,)


def play(server: Server, scene: Callable[[Talk], tuple[bool, float]]) -> None:
    talk = Talk(server, b"pause" if scene is a_pause_passes else scene.__name__.encode())
    try:
        right, seconds = scene(talk)
    finally:
        talk.close()
    assert right, scene.__name__
    assert 1 - EARLY <= seconds < LATE, scene.__name__


def test_a_second_is_a_second(server: Server) -> None:
    with ThreadPoolExecutor(len(TOGETHER)) as pool:
        for done in [pool.submit(play, server, scene) for scene in TOGETHER]:
            done.result()
    for scene in ALONE:
        play(server, scene)


# --- differences ----------------------------------------------------------------------------

TIMEOUTS = (b"-1", b"2147483648", b"4294967295", b"4294967296", b"abc", b"", b"+1", b"x 1")


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    server = Embedded()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_a_bad_timeout_is_refused_as_1_13_does(embedded: Embedded, timeout: bytes) -> None:
    assert embedded.ask(b"reserve-with-timeout " + timeout + b"\r\n") == b"BAD_FORMAT\r\n"


@pytest.mark.parametrize("rest", [b" x", b"x", b" 1", b"\n1", b" ", b"-1", b".5", b"\xff", b"\t"])
def test_what_follows_a_timeout_does_not_count(server: Beanstalkd, rest: bytes) -> None:
    """Neither for our server nor for any beanstalkd."""
    assert server.ask(b"reserve-with-timeout 0%b\r\n" % rest) == b"TIMED_OUT\r\n"
    assert server.ask(b"reserve-with-timeout   0%b\r\n" % rest) == b"TIMED_OUT\r\n"
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"put 0 0 60 1\r\nx\r\nreserve-with-timeout 100%b\r\n" % rest)
        assert replies.readline().startswith(b"INSERTED")
        assert replies.readline().startswith(b"RESERVED")


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_the_row_on_timeouts_is_needed(beanstalkd: Beanstalkd, timeout: bytes) -> None:
    """What 1.12 does instead, so that nobody leaves more out of the proof than must be."""
    if b'version: "1.12"' not in _stats(beanstalkd):
        pytest.skip("beanstalkd is not 1.12")
    with beanstalkd.connect() as sock:
        # It takes them all: when the client's side is closed, the reserve is over.
        sock.sendall(b"reserve-with-timeout " + timeout + b"\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b"TIMED_OUT\r\n"


def _stats(server: Beanstalkd) -> bytes:
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats\r\n")
        return replies.read(int(replies.readline().split()[1]))


def test_names_in_stats_are_quoted_as_by_1_13(embedded: Embedded) -> None:
    talk = Talk(embedded, b"007")
    put(talk, 0, 60)
    assert b'\nname: "007"\n' in b"\n" + data(talk, b"stats-tube 007")
    assert b'\ntube: "007"\n' in data(talk, b"stats-job 1")
    stats = data(talk, b"stats")
    for key in (b"version", b"hostname", b"os", b"platform"):
        assert b"\n" + key + b': "' in stats
    assert b'\nid: "' not in stats
    talk.close()
