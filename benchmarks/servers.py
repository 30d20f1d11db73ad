"""Start the servers that are measured against, on free ports, and stop them at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.beanstalkd import Beanstalkd

from .bare import pipeline
from .registry import Address

TUBES = 10_000
"""The number of tubes on the server for measures of many tubes."""


def tube_name(number: int) -> str:
    """Return the name of a tube of a server with `TUBES` tubes, for any number."""
    return f"tube-{number % TUBES:05d}"


@contextmanager
def empty() -> Iterator[Address]:
    """Start a new server; give its address."""
    server = Beanstalkd()
    try:
        server.start()
        yield server.host, server.port
    finally:
        server.stop()


class Servers:
    """Keep the servers of one run of the benchmark. It is a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kept: dict[int, Address] = {}  # by number of tubes

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def serving(self, tubes: int) -> Iterator[Address]:
        """Give the address of a server for one measure: a new one, or one with `tubes` tubes."""
        if not tubes:
            with empty() as address:
                yield address
            return
        # Kept for later measures, because creating so many tubes takes long.
        if tubes not in self._kept:
            self._kept[tubes] = self._with_tubes(tubes)
        yield self._kept[tubes]

    def _with_tubes(self, tubes: int) -> Address:
        address = self._stack.enter_context(empty())
        # A tube without jobs exists only while a connection watches it.
        sock = self._stack.enter_context(socket.create_connection(address))
        names = (tube_name(number).encode() for number in range(tubes))
        pipeline(sock, b"".join(b"watch %b\r\n" % name for name in names), tubes)
        return address
