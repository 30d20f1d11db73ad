"""Free ports of the loopback interface that stay free until a test's server listens on them."""

from __future__ import annotations

import itertools
import socket
import sys

HOST = "127.0.0.1"

RESERVED = 20
"""Ports that each process of the tests keeps for itself: more than one test uses."""


def _reserve() -> int:
    """Bind a socket to a free port, keep it bound, and return the port.

    While it is bound, the system gives the port to nobody who asks for any free port: neither to a
    server nor to an outgoing connection, in whichever process. Servers that name the port get it
    all the same, because they and this socket set SO_REUSEADDR, and this socket never listens.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, 0))
    port: int = sock.getsockname()[1]
    if sys.platform == "linux":
        _sockets.append(sock)
    else:  # where a bound socket is in a server's way, the port is only likely to stay free
        sock.close()
    return port


_sockets: list[socket.socket] = []
# All at once and for good: tests compare the numbers of descriptors before and after.
_ports = itertools.cycle([_reserve() for _ in range(RESERVED)])


def free_port() -> int:
    """Return a port on which nothing listens, and which no other process can be given.

    The same port is returned again only after `RESERVED` further calls, and not while a server
    that was started on it is still there.
    """
    return next(port for port in itertools.islice(_ports, RESERVED) if not _is_in_use(port))


def _is_in_use(port: int) -> bool:
    """Return whether a server listens on the port; a socket that is only bound does not count."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return True
    return False
