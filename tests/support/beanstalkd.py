"""A real beanstalkd for a test: on a free port, polled until it answers, stopped by its pid."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time

import pytest

from .ports import HOST, free_port

__all__ = ["EXECUTABLE", "HOST", "Beanstalkd", "free_port"]

EXECUTABLE = shutil.which("beanstalkd")


class Beanstalkd:
    """One server. `options` are beanstalkd's own; ``-l`` and ``-p`` are given already."""

    #: the program that is started; a test without it is skipped
    executable: str | None = EXECUTABLE

    def __init__(self, *options: str, port: int | None = None) -> None:
        if self.executable is None:
            pytest.skip("beanstalkd is not installed")
        self.host = HOST
        self.port = port or free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"beanstalk://{self.host}:{self.port}"

    def start(self) -> None:
        self.process = self.launch()
        deadline = time.monotonic() + 10
        while True:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, "beanstalkd ended at once"
                assert time.monotonic() < deadline, "beanstalkd does not answer"
                time.sleep(0.005)

    def launch(self) -> subprocess.Popen[bytes]:
        assert self.executable is not None
        where = ["-l", self.host, "-p", str(self.port)]
        return subprocess.Popen([self.executable, *where, *self.options], stdin=subprocess.DEVNULL)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End the process, whatever state it is in; does nothing when it has ended."""
        if self.process is None:
            return
        self.process.send_signal(signum)
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(10)
        self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self, signum: int = signal.SIGKILL) -> None:
        """End it and start it again on the same port."""
        self.stop(signum)
        self.start()

    def freeze(self) -> None:
        """Still accepts connections, answers nothing (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, signum: int) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def connect(self) -> socket.socket:
        """A plain blocking socket to it, to look past the client."""
        return socket.create_connection((self.host, self.port), timeout=10)

    def ask(self, command: bytes) -> bytes:
        """The first line of the reply to one command on a connection of its own."""
        with self.connect() as sock, sock.makefile("rb") as replies:
            sock.sendall(command)
            return replies.readline()
