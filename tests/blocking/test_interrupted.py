"""What a signal's handler raises at any line of the blocking client harms no later call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import beanstalkt
from beanstalkt import BeanstalkException, ConnectionLost
from beanstalkt.blocking import Client

from ..support.beanstalkd import Beanstalkd
from ..support.interruption import Interruption
from ..support.leftovers import descriptors

PACKAGE = Path(beanstalkt.__file__).parent

LOCKS = ("with lock.", "try:", "lock.busy = False", "lock.waiting = None")
"""No signal's handler runs where the interpreter only enters or leaves a block: between taking a
lock of its own and the `with`, at the end of that before the lock is released, at a `try`, and at
the first assignments of a `finally`. The tracing of lines would raise there all the same."""

# What is interrupted while a socket is opened is closed when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def run(client: Client, put: Callable[..., int]) -> None:
    put(b"one")
    put(b"there", tube="there")
    client.watch("there")
    job = client.reserve(5)
    client.release(job, None, 100)
    job = client.reserve()
    client.bury(job)
    with suppress(beanstalkt.NotFound):
        client.delete(10**6)
    client.put_many([b"many"] * 3, delay=100)
    client.use("default")
    with suppress(beanstalkt.TimedOut):
        client.reserve(0)


def lose(client: Client, put: Callable[..., int]) -> None:
    put(b"one")
    client.watch("there")
    assert client._connection is not None
    client._connection.interrupt()
    with suppress(BeanstalkException):
        client.stats()
    put(b"two")
    client._connection.interrupt()
    client._connection.used = 0.0
    put(b"three")


@pytest.mark.parametrize("what", [run, lose])
@pytest.mark.parametrize(
    "modules",
    [
        ("blocking/client", "blocking/client_connection", "blocking/lock"),
        ("blocking/connection",),
        ("client/pipeline", "client/requests", "client/puts", "client/tubes"),
    ],
    ids=" ".join,
)
def test_at_any_line(
    beanstalkd: Beanstalkd,
    modules: tuple[str, ...],
    what: Callable[[Client, Callable[..., int]], None],
) -> None:
    at = 0
    where = ""
    while where != "nowhere":
        at += 1
        where = interrupted(beanstalkd, at, modules, what)
    assert at > 15


def interrupted(
    server: Beanstalkd,
    at: int,
    modules: tuple[str, ...],
    what: Callable[[Client, Callable[..., int]], None],
) -> str:
    """Return where a client was interrupted, once it is known that it does as before."""
    bodies: dict[int, bytes] = {}
    client = Client(server.host, server.port, reconnect_delay=0.001, response_timeout=10)
    before = descriptors()

    def put(body: bytes, **options: Any) -> int:
        job_id = client.put(body, **options)
        bodies[job_id] = body
        return job_id

    client.connect()
    interruption = Interruption(at, {str(PACKAGE / f"{name}.py") for name in modules}, LOCKS)
    try:
        with suppress(KeyboardInterrupt, BeanstalkException), interruption:
            what(client, put)
        with suppress(ConnectionLost):  # where it had been cut off, which was not noticed yet
            put(b"after")
        put(b"again")
        for job_id, body in bodies.items():
            assert client.peek(job_id).body == body
        assert client.list_tube_used() == client.using == "default"
        assert set(client.list_tubes_watched()) == client.watching
        # Another thread is let in.
        other = threading.Thread(target=put, args=(b"other",), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
        for job_id in bodies:
            client.delete(job_id)
        with suppress(beanstalkt.TimedOut):
            for _ in range(10):
                client.delete(client.reserve(0))
        for job_id in client.put_many([b"x"] * 2):
            client.delete(job_id)
        client.close()
        assert descriptors() == before
    except BaseException:
        print("interrupted at", interruption.where)
        raise
    return interruption.where
