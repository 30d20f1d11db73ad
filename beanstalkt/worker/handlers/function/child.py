"""The other side of ``children``: the process that runs plain functions, one after another.

It reads the bodies of jobs from a socket and answers each with an outcome, in JSON. Nothing that
a function returns or raises has to be pickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from ....dispatch.call import decode
from ....dispatch.perform import perform
from ....dispatch.safetask import Stopped
from ....dispatch.table import Table
from ...log.lines import FORMATTERS
from ...policy.outcome import Kind, Outcome
from .handler import outcome_of
from .memory import address_space
from .message import HEADER, pack

_HANDLED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGCHLD,
)
"""What the runner may have ignored has its default meaning again in a child."""

_OOM_SCORE = b"500"
"""Where memory runs out, the kernel takes the child before the runner and the server."""


def main(told: Mapping[str, Any]) -> None:
    """Serve until the runner closes the socket. `told` is what ``children`` says at the start."""
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    die_with_runner(told["life"])
    channel = socket.socket(fileno=told["channel"])
    for fd in (told["life"], told["channel"]):
        os.set_inheritable(fd, False)
    _set_up_output(told["log_format"])
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
        score.write(_OOM_SCORE)
    try:
        memory = _limit_memory(told["max_memory"])
        table = Table.load(told["source"])
    except (ValueError, OSError, MemoryError) as error:
        channel.sendall(pack({"error": str(error) or type(error).__name__}))
        return
    Server(channel, table, memory).serve()


def _limit_memory(limit: int | None) -> int | None:
    if limit is not None:
        taken = address_space() or 0
        if limit <= taken:
            raise ValueError(f"max_child_memory is {limit}, and it takes {taken} from the start")
        # The address space and not the memory in use: the kernel refuses what is too much when
        # it is asked for, so that nobody has to watch, and nothing can be faster than the watch.
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit


def die_with_runner(life: int) -> None:
    """Have the kernel kill this process group when the runner ends, however it ends.

    `life` is the reading end of a pipe on which nothing is ever written, and whose other end only
    the runner has. Where there is no such signal (it is Linux's), a child ends when it next looks
    for a job.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # it has ended already
        os._exit(1)


def _set_up_output(log_format: str | None) -> None:
    # What a function printed must not be lost when it is killed.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if log_format is not None:
        handler = logging.StreamHandler()
        handler.setFormatter(FORMATTERS[log_format]())
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)


class Server:
    """Answers jobs on one socket."""

    def __init__(self, channel: socket.socket, table: Table, memory: int | None) -> None:
        self._channel = channel
        self._table = table
        self._pid = os.getpid()
        #: bytes of address space above which no further job is taken
        self._enough: float | None = None
        size = address_space()
        if memory is not None and size is not None:
            self._enough = size + (memory - size) / 2

    def serve(self) -> None:
        """Until the socket is closed, or a job has spoiled this process."""
        self._channel.sendall(pack({}))
        while (body := self._receive()) is not None:
            reply = self._run(body)
            if os.getpid() != self._pid:
                # The function has forked, and this is the copy that came back from it too.
                os._exit(0)
            self._channel.sendall(reply)

    def _receive(self) -> bytes | None:
        header = self._exactly(HEADER.size)
        return None if header is None else self._exactly(HEADER.unpack(header)[0])

    def _exactly(self, size: int) -> bytes | None:
        chunks: list[bytes] = []
        while size:
            chunk = self._channel.recv(min(size, 1 << 20))
            if not chunk:
                return None
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _run(self, body: bytes) -> bytes:
        failure: BaseException | None
        try:
            call = decode(body)
            entry = self._table.find(call)
            signal.signal(signal.SIGTERM, _stop)
            failure = perform(entry.make(), call.args, call.kwargs)
        except BaseException as error:
            failure = error
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(0)  # a function's own, that would end the next one
        if isinstance(failure, MemoryError):
            # Its frames hold what was too much, and telling of it takes memory too.
            traceback.clear_frames(failure.__traceback__)
        try:
            return self._reply(outcome_of(failure))
        except Exception as error:
            # Such as a subclass of Retry with a delay of its own making.
            unsent = Outcome(
                Kind.UNKNOWN_FAIL, error=f"its outcome could not be sent to the runner: {error}"
            )
            return self._reply(unsent)

    def _reply(self, outcome: Outcome) -> bytes:
        return pack(
            {
                "kind": outcome.kind.value,
                "delay": outcome.delay,
                "error": outcome.error,
                "details": dict(outcome.details),
                "spoiled": self._spoiled(),
            }
        )

    def _spoiled(self) -> bool:
        """Whether what the job left behind would harm the next one."""
        try:
            for fd in range(3):
                os.fstat(fd)
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, or replaced
            return True
        size = address_space() if self._enough is not None else None
        return size is not None and self._enough is not None and size > self._enough


def _stop(*_: object) -> NoReturn:
    raise Stopped("it was told to end")
