"""What systemd is notified of."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from beanstalkt.worker.events import (
    ReloadFailed,
    ReloadFinished,
    ReloadStarted,
    RunnerReady,
    RunnerStopping,
)
from beanstalkt.worker.log.systemd import SystemdObserver, notify


@pytest.mark.parametrize("abstract", [False, True])
def test_a_datagram(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@beanstalkt-test-{os.getpid()}" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if abstract else name)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1", "STATUS=fine")
        assert sock.recv(1000) == b"READY=1\nSTATUS=fine"
        observer = SystemdObserver()
        observer(ReloadStarted())
        assert sock.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        for event, expected in (
            (ReloadFailed((), "no command"), b"READY=1"),
            (ReloadFinished(3), b"READY=1"),
            (
                RunnerReady("beanstalk://x", 2, 8),
                b"READY=1\nSTATUS=working on 2 tubes",
            ),
            (RunnerStopping("draining", 0), b"STOPPING=1"),
        ):
            assert type(event) in observer.events
            observer(event)
            assert sock.recv(1000) == expected


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "/" + "x" * 200])
def test_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_a_listener_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
        for _ in range(2000):
            notify("READY=1")
