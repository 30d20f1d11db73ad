"""Tells systemd how the runner is (``Type=notify``), where systemd started it."""

from __future__ import annotations

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1``; without effect where nobody listens.

    The protocol is that of sd_notify(3): one datagram, to the socket in ``NOTIFY_SOCKET``.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return
    if address[0] == "@":  # in the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), address)
    except OSError:
        # To be told is systemd's wish. No job must suffer when it does not listen.
        pass


def reloading() -> None:
    """``RELOADING=1``, with the time that systemd wants beside it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
