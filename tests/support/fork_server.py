"""A process that has imported what the programs of tests import, and forks one for each request.

It is run by `program`, as ``python -m tests.support.fork_server DESCRIPTOR MODULE…``: the
descriptor is that of a socket, and the modules are what it imports. A request is a pickled
`Request` with the three standard streams of the program; the reply is the process id. It ends
when the other end of the socket is closed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import pickle
import runpy
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO, cast

LENGTH = struct.Struct("!I")

# As the interpreter has chosen them for the locale, which a forked program has as well.
OWN_ENCODING, OWN_ERRORS = (
    ("utf-8", "strict") if sys.stdin is None else (sys.stdin.encoding, sys.stdin.errors)
)


@dataclass(frozen=True)
class Request:
    """A Python program to run: the words after ``python``, and where it runs."""

    words: tuple[str, ...]
    directory: str
    environment: dict[str, str]
    #: the numbers of the standard streams that are closed
    closed: tuple[int, ...]
    new_session: bool


def send(sock: socket.socket, request: Request, streams: list[int]) -> int:
    """Send a request; return the process id of the program, an orphan's unless adopted."""
    data = pickle.dumps(request)
    socket.send_fds(sock, [LENGTH.pack(len(data))], streams)
    sock.sendall(data)
    reply = sock.recv(LENGTH.size, socket.MSG_WAITALL)
    (pid,) = LENGTH.unpack(reply)
    return cast(int, pid)


def receive(sock: socket.socket) -> tuple[Request, list[int]] | None:
    """Return the next request and its streams; None at the end."""
    data, streams, _, _ = socket.recv_fds(sock, LENGTH.size, 3)
    if not data:
        return None
    (length,) = LENGTH.unpack(data)
    return pickle.loads(sock.recv(length, socket.MSG_WAITALL)), streams


def serve(sock: socket.socket) -> Request | None:
    """Fork a process for each request, and return in it; return None at the end."""
    while (received := receive(sock)) is not None:
        request, streams = received
        ours, theirs = os.pipe()
        middle = os.fork()
        if middle == 0:
            # The process in the middle ends, so that the program is adopted by the test.
            middle = os.getpid()
            program = os.fork()
            if program:
                os.write(theirs, LENGTH.pack(program))
                os._exit(0)
            sock.close()
            os.close(ours)
            os.close(theirs)
            while os.getppid() == middle:
                time.sleep(0.0005)
            take_over(request, streams)
            return request
        for descriptor in (theirs, *streams):
            os.close(descriptor)
        os.waitpid(middle, 0)
        sock.sendall(os.read(ours, LENGTH.size))
        os.close(ours)
    return None


def take_over(request: Request, streams: list[int]) -> None:
    """Make of this process what the interpreter makes of a new one before it runs anything."""
    if request.new_session:
        os.setsid()
    os.chdir(request.directory)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number in request.closed:
        os.close(number)
    os.environ.clear()
    os.environ.update(request.environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = stream(0, "r", "<stdin>")  # type: ignore[assignment,misc]
    sys.stdout = sys.__stdout__ = stream(1, "w", "<stdout>")  # type: ignore[assignment,misc]
    sys.stderr = sys.__stderr__ = stream(2, "w", "<stderr>")  # type: ignore[assignment,misc]


def stream(number: int, mode: str, name: str) -> TextIO | None:
    """Return a standard stream as the interpreter opens it; None if it is closed."""
    try:
        os.fstat(number)
    except OSError:
        return None
    unbuffered = mode == "w" and bool(os.environ.get("PYTHONUNBUFFERED"))
    raw: Any = io.FileIO(number, mode, closefd=False)
    raw.name = name
    buffer: Any = raw
    if not unbuffered:
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    text = io.TextIOWrapper(
        cast(BinaryIO, buffer),
        encoding=OWN_ENCODING,
        errors="backslashreplace" if number == 2 else OWN_ERRORS,
        newline=None if mode == "r" else "\n",
        line_buffering=number == 2 or raw.isatty(),
        write_through=unbuffered,
    )
    cast(Any, text).mode = mode
    return text


def run(request: Request) -> None:
    """Run the program as ``python -c``, ``-m`` or with the name of a file does."""
    first, *more = request.words
    for path in reversed(request.environment.get("PYTHONPATH", "").split(os.pathsep)):
        if path:
            sys.path.insert(1, path)
    sys.orig_argv = [sys.executable, *request.words]
    if first == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = more
        runpy.run_module(more[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *more[1:]]
        exec(compile(more[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(first))
        sys.argv = list(request.words)
        runpy.run_path(first, run_name="__main__")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    for name in sys.argv[2:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Neither the garbage collections of the programs nor those at their end look at all this.
    gc.collect()
    gc.freeze()
    request = serve(sock)
    if request is not None:
        run(request)


if __name__ == "__main__":
    main()
