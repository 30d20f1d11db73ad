"""Python programs that tests start: each in a process of its own, but without its imports.

To start the interpreter and to import what the command line needs takes ten times as long as most
programs of these tests run. So `start` forks them off a process that has imported all of it, once
for each process of the tests. What comes back is an ordinary `subprocess.Popen`: the program is a
child of the test, with streams, a directory and an environment of its own, and it ends as any
program of the interpreter does. With ``REAL_PROCESSES`` in the environment, where the system is
not Linux, and for what a fork cannot have, it is started as it always is.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import fork_server

ROOT = Path(__file__).parent.parent.parent

COMMAND_LINE = ("-m", "beanstalkt.cmd")

COMMANDS = (
    "shutil",
    "tornado.platform.asyncio",
    "beanstalkt.blocking",
    "beanstalkt.server",
    "beanstalkt.cli.program",
    "beanstalkt.cli.jobs",
    "beanstalkt.cli.serve",
    "beanstalkt.cli.work",
)
"""What the verbs of the command line import."""

Popen = subprocess.Popen[bytes]

OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG")
"""What the names of variables begin with that the interpreter reads when it starts."""

KNOWN = ("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
"""Those that a fork follows all the same."""

SET_CHILD_SUBREAPER, GET_CHILD_SUBREAPER = 36, 37
"""The options of prctl about the adoption of orphans among the descendants of a process."""


def start(
    *words: str | Path,
    closed: tuple[int, ...] = (),
    imports: tuple[str, ...] = COMMANDS,
    **options: Any,
) -> Popen:
    """Start ``python WORDS``, with the options of `subprocess.Popen`.

    The standard streams whose numbers are `closed` are closed in it. `imports` are the modules
    that it is likely to import.
    """
    arguments = [str(word) for word in words]
    if may_fork(arguments, options):
        return Forked(arguments, closed, imports, options)
    shell = [] if not closed else ["sh", "-c", f'exec "$@" {closing(closed)}', "sh"]
    return subprocess.Popen([*shell, sys.executable, *arguments], **options)


def run(
    *words: str | Path,
    closed: tuple[int, ...] = (),
    imports: tuple[str, ...] = COMMANDS,
    timeout: float = 30,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run ``python WORDS`` to its end; its input is empty and its output kept by default."""
    options = {"stdin": subprocess.DEVNULL, "stdout": -1, "stderr": -1, **options}
    with start(*words, closed=closed, imports=imports, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def closing(numbers: tuple[int, ...]) -> str:
    """Return the words that make a shell close these streams."""
    return " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in numbers)


# --- forked ---------------------------------------------------------------------------------


def may_fork(words: list[str], options: dict[str, Any]) -> bool:
    """Return whether a fork is as good as a new interpreter for this."""
    if sys.platform != "linux" or "REAL_PROCESSES" in os.environ:
        return False
    if words[0].startswith("-") and words[0] not in ("-m", "-c"):
        return False
    streams = {"stdin", "stdout", "stderr", "cwd", "env", "bufsize", "start_new_session"}
    wanted, own = options.get("env"), os.environ
    return options.keys() <= streams and (wanted is None or settings(wanted) == settings(own))


def settings(environment: Any) -> dict[str, str]:
    """Return what the interpreter would read at its start."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(OF_THE_INTERPRETER) and name not in KNOWN
    }


class Forked(Popen):
    """A program that is forked off the fork server, and is a child of this process."""

    def __init__(
        self,
        words: list[str],
        closed: tuple[int, ...],
        imports: tuple[str, ...],
        options: dict[str, Any],
    ) -> None:
        self._server = fork_server_of(imports)
        self._request = fork_server.Request(
            tuple(words),
            str(options.pop("cwd", None) or Path.cwd()),
            dict(os.environ if options.get("env") is None else options["env"]),
            closed,
            options.pop("start_new_session", False),
        )
        super().__init__([sys.executable, *words], **options)

    def _execute_child(self, *arguments: Any) -> None:
        """Take the place of what starts a program in `subprocess.Popen`."""
        pipes = arguments[10:16]  # of the child and of us, for each stream
        child = (pipes[0], pipes[3], pipes[5])
        streams = [number if given < 0 else given for number, given in enumerate(child)]
        self.pid = self._server.fork(self._request, streams)
        of_popen: Any = self
        of_popen._child_created = True
        of_popen._close_pipe_fds(*pipes)


class ForkServer:
    """The process that forks programs; it is started with the first of them."""

    def __init__(self, imports: tuple[str, ...]) -> None:
        self._imports = imports
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def fork(self, request: fork_server.Request, streams: list[int]) -> int:
        """Start the program as a child of this process; return its process id."""
        with self._lock, adopting_orphans():
            self.start()
            assert self._socket is not None
            return fork_server.send(self._socket, request, streams)

    def start(self) -> None:
        if self._process is not None:
            return
        self._socket, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", fork_server.__name__, str(descriptor), *self._imports],
                cwd=ROOT,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.stop, os.getpid())

    def stop(self, owner: int) -> None:
        """End it, unless this process is a fork of the one that started it."""
        if os.getpid() == owner and self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.wait()


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Let this process be the parent of its descendants that lose theirs."""
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    assert prctl(GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0) == 0
    assert prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        assert prctl(SET_CHILD_SUBREAPER, before.value, 0, 0, 0) == 0


_servers: dict[tuple[str, ...], ForkServer] = {}


def fork_server_of(imports: tuple[str, ...]) -> ForkServer:
    """Return the server of this process that has these imports."""
    return _servers.setdefault(imports, ForkServer(imports))


def helpers() -> set[int]:
    """Return the processes that are not of a test."""
    return {server.pid for server in _servers.values() if server.pid is not None}
