"""Measure a bare blocking socket that writes everything ahead: the ceiling for every client."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import nullcontext

from .registry import BODY, Address, Stopwatch, measure

PUT = b"put 2147483648 0 120 %d\r\n%b\r\n" % (len(BODY), BODY)

NAP = 0.001
"""Seconds between two reads of the reader that reads once a millisecond."""


def pipeline(sock: socket.socket, commands: bytes, lines: int, nap: float = 0) -> None:
    """Send the commands and read `lines` lines of replies, whatever they say."""
    # Read while writing: a server whose replies are not read stops reading commands.
    writer = threading.Thread(target=sock.sendall, args=(commands,), daemon=True)
    writer.start()
    buffer = bytearray(2**20)
    while lines > 0:
        if nap:
            time.sleep(nap)
        size = sock.recv_into(buffer)
        if not size:
            raise ConnectionError("the server closed the connection")
        lines -= buffer.count(b"\n", 0, size)
    writer.join()


def ask(sock: socket.socket, command: bytes) -> bytes:
    """Return the data that the server sends in reply to a stats or list command."""
    with sock.makefile("rb") as replies:
        sock.sendall(command)
        return replies.read(int(replies.readline().split()[1]))


def check(sock: socket.socket, count: bytes) -> None:
    """Verify by a counter of the server that the measured commands were carried out."""
    counts = ask(sock, b"stats-tube default\r\n")
    if count not in counts.splitlines():
        raise ValueError(f"the server does not count {count!r}, but {counts!r}")


def load(address: Address, jobs: int, watch: Stopwatch | None = None, nap: float = NAP) -> None:
    """Put jobs into a new server, which numbers them from 1."""
    commands = PUT * jobs
    with socket.create_connection(address) as sock:
        with watch or nullcontext():
            pipeline(sock, commands, jobs, nap)
        check(sock, b"current-jobs-ready: %d" % jobs)


@measure("put", "bare socket, all written ahead")
def put(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs, and read each reply as soon as it arrives: the ceiling for every client."""
    load(address, jobs, watch, nap=0)


@measure("put", "the same, reading once a millisecond")
def put_napping(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs, and read seldom: the server spends no time on waking the reader."""
    load(address, jobs, watch)


@measure("reserve + delete", "bare socket, all written ahead", commands=2)
def reserve_delete(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete jobs. They arrive in the order of their ids, so all is written ahead."""
    load(address, jobs)
    commands = b"".join(b"reserve\r\ndelete %d\r\n" % number for number in range(1, jobs + 1))
    with socket.create_connection(address) as sock:
        with watch:
            pipeline(sock, commands, 3 * jobs)
        check(sock, b"cmd-delete: %d" % jobs)
