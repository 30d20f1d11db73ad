"""Notify systemd of the state of the runner (``Type=notify``), if systemd has started it."""

from __future__ import annotations

import os
import socket
import time

from ..events import (
    Event,
    ReloadFailed,
    ReloadFinished,
    ReloadStarted,
    RunnerReady,
    RunnerStopping,
)


class SystemdObserver:
    """Notify systemd of the events that change the state of the service."""

    events = frozenset({RunnerReady, RunnerStopping, ReloadStarted, ReloadFinished, ReloadFailed})

    def __call__(self, event: Event) -> None:
        """Notify systemd of an event."""
        if isinstance(event, RunnerReady):
            notify("READY=1", f"STATUS=working on {event.tubes} tubes")
        elif isinstance(event, ReloadStarted):
            notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        elif isinstance(event, RunnerStopping):
            notify("STOPPING=1")
        else:
            notify("READY=1")


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1`` to systemd; do nothing if ``NOTIFY_SOCKET`` is not set.

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
        # No job must suffer because systemd does not read.
        pass
