"""The embedded server answers as a real one does, whatever is sent."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from beanstalkt.protocol.stats import parse_server

from ..support.beanstalkd import EXECUTABLE, Beanstalkd
from ..support.contest import play
from ..support.embedded import Embedded
from ..support.sequences import CONNECTIONS, SEQUENCE, Close, Send, Step
from ..support.soak import FACTOR

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="beanstalkd is not installed")


@pytest.fixture(scope="module")
def real() -> Iterator[Beanstalkd]:
    server = Beanstalkd()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def embedded() -> Iterator[Embedded]:
    server = Embedded()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def version(real: Beanstalkd) -> str:
    with real.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats\r\n")
        size = int(replies.readline().split()[1])
        return str(parse_server(replies.read(size))["version"])


@pytest.mark.soak
def test_random_sequences_get_the_replies_of_a_real_server(
    real: Beanstalkd, embedded: Embedded, version: str
) -> None:
    @settings(
        max_examples=200 * FACTOR,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(SEQUENCE)
    def sequences(steps: list[Step]) -> None:
        play(steps, [real, embedded], version)

    sequences()


EDGES = [*range(218, 232), *range(444, 456), 700]


@pytest.mark.parametrize("cut", [False, True])
def test_lines_of_about_the_length_of_a_window(
    real: Beanstalkd, embedded: Embedded, version: str, cut: bool
) -> None:
    steps: list[Step] = []
    for number, size in enumerate(EDGES):
        for line in (b"l" * size, b"l" * (size - 20) + b"\r" + b"l" * 20, b"use " + b"a" * size):
            connection = number % CONNECTIONS
            steps.append(Send(connection, (line + b"\r\n", *NEXT), (0.3, 0.9) if cut else ()))
            # Whatever a connection is stuck in is not for the next.
            steps.append(Close(connection))
    play(steps, [real, embedded], version)


NEXT = (b"use next\r\n", b"list-tube-used\r\n", b"list-tube-used\r\n")


def test_drain_mode(real: Beanstalkd, embedded: Embedded) -> None:
    puts = (
        b"put 0 0 1 1\r\nx\r\n"
        b"put 0 0 1 1\r\nxyz"
        b"put 0 0 1 65536\r\n" + b"x" * 65536 + b"yz"
        b"put 0 0 1\r\nquit\r\n"
    )
    heard = []
    for server in (real, embedded):
        server.restart()
        server.signal(signal.SIGUSR1)
        with server.connect() as sock, sock.makefile("rb") as replies:
            sock.sendall(puts)
            heard.append(replies.read())
    assert heard[0] == heard[1]
    assert heard[0] == b"DRAINING\r\nEXPECTED_CRLF\r\nJOB_TOO_BIG\r\nBAD_FORMAT\r\n"
