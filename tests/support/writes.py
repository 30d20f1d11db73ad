"""The writes that go to a server, one by one."""

from __future__ import annotations

import socket

import pytest


class Writes:
    """Record what is written to one port, a write an item."""

    def __init__(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[bytes] = []
        send = socket.socket.send

        def counted(sock: socket.socket, data: bytes, *flags: int) -> int:
            count = send(sock, data, *flags)
            if sock.getpeername()[1] == port:
                self.all.append(bytes(data)[:count])
            return count

        monkeypatch.setattr(socket.socket, "send", counted)

    def take(self) -> list[bytes]:
        """Return what was written since the last call."""
        taken, self.all = self.all, []
        return taken
