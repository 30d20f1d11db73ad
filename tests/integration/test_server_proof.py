"""The embedded server answers as a real one does, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from beanstalkt.stats import parse_server

from ..beanstalkd import EXECUTABLE, Beanstalkd
from ..embedded import Embedded
from ..soak import FACTOR
from .contest import play
from .sequences import SEQUENCE, Step

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
        max_examples=500 * FACTOR,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(SEQUENCE)
    def sequences(steps: list[Step]) -> None:
        play(steps, [real, embedded], version)

    sequences()
