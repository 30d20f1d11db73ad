"""The servers that are measured against: our own, on free ports, gone at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.beanstalkd import Beanstalkd

from .bare import pipeline
from .registry import Address

TUBES = 10_000
"""Tubes for the measures that want many."""


def tube_name(number: int) -> str:
    """The name of a tube of a server with `TUBES` of them; counts round and round."""
    return f"tube-{number % TUBES:05d}"


@contextmanager
def empty() -> Iterator[Address]:
    """A server that nothing has happened to yet."""
    server = Beanstalkd()
    try:
        server.start()
        yield server.host, server.port
    finally:
        server.stop()


class Servers:
    """The servers of one run of the benchmark, as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kept: dict[int, Address] = {}  # by number of tubes

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def serving(self, tubes: int) -> Iterator[Address]:
        """The server for one measure: a fresh one, or one with so many tubes."""
        if not tubes:
            with empty() as address:
                yield address
            return
        # Kept, because nothing is changed on it, and making so many tubes takes long.
        if tubes not in self._kept:
            self._kept[tubes] = self._with_tubes(tubes)
        yield self._kept[tubes]

    def _with_tubes(self, tubes: int) -> Address:
        address = self._stack.enter_context(empty())
        # A tube lives for as long as somebody watches it.
        sock = self._stack.enter_context(socket.create_connection(address))
        names = (tube_name(number).encode() for number in range(tubes))
        pipeline(sock, b"".join(b"watch %b\r\n" % name for name in names), tubes)
        return address
