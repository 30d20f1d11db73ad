"""The embedded server for a test, with the ways of a real one (see `beanstalkd`)."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

from beanstalkt.testing import EmbeddedServer

from . import program
from .beanstalkd import Beanstalkd
from .ports import free_port


class Embedded(EmbeddedServer):
    """Run one server in a thread of its own, on the same port each time."""

    def __init__(self, max_job_size: int = 65535) -> None:
        super().__init__(free_port(), max_job_size)
        self._thawed = threading.Event()

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it, also while it is frozen; does nothing when it has ended."""
        self.thaw()
        super().stop()

    def kill(self) -> None:
        self.stop()

    def restart(self, signum: int = signal.SIGKILL) -> None:
        """End it and start it again on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Still accepts connections, answers nothing."""
        assert self._loop is not None
        self._thawed.clear()
        self._loop.call_soon_threadsafe(self._thawed.wait)

    def thaw(self) -> None:
        self._thawed.set()

    def signal(self, signum: int) -> None:
        """SIGUSR1 drains."""
        assert signum == signal.SIGUSR1
        self.drain()

    def connect(self) -> socket.socket:
        """A plain blocking socket to it, to look past the client."""
        return socket.create_connection((self.host, self.port), timeout=10)

    def ask(self, command: bytes) -> bytes:
        """The first line of the reply to one command on a connection of its own."""
        with self.connect() as sock, sock.makefile("rb") as replies:
            sock.sendall(command)
            return replies.readline()


class Apart(Beanstalkd):
    """The embedded server in a process of its own: one that can be frozen, and whose descriptors
    are not counted with those of the test. `options` are those of ``serve``.
    """

    executable = sys.executable

    def launch(self) -> subprocess.Popen[bytes]:
        where = ["--host", self.host, "--port", str(self.port)]
        return program.start(
            *program.COMMAND_LINE, "serve", *where, *self.options, stdin=subprocess.DEVNULL
        )


AnyServer = Beanstalkd | Embedded
