"""The program of a child process, which calls plain functions, one after another.

It reads the bodies of jobs from a socket and answers each with an outcome, in JSON. Nothing that
a function returns or raises has to be pickled. The runner's side is in ``child_process``.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pkgutil
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
from ...policy.outcome import Kind, Outcome
from .address_space import address_space
from .framing import HEADER, pack
from .outcomes import outcome_of_task

_RESET_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGCHLD,
)
"""Signals that the runner may have ignored, and that have their default effect on a child."""

_OOM_SCORE = b"500"
"""When memory runs out, the kernel kills the child before the runner and the server."""


def main(setup: Mapping[str, Any]) -> None:
    """Call functions until the runner closes the socket.

    :param setup: what ``child_process`` sends at the start: ``source`` of the table,
        ``max_memory``, the path of the ``formatter`` of the log, and the numbers of two
        descriptors, ``channel`` (the socket) and ``lifeline``
    """
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    die_with_runner(setup["lifeline"])
    channel = socket.socket(fileno=setup["channel"])
    for fd in (setup["lifeline"], setup["channel"]):
        os.set_inheritable(fd, False)
    _set_up_output(setup["formatter"])
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
        score.write(_OOM_SCORE)
    try:
        memory = _limit_memory(setup["max_memory"])
        table = Table.load(setup["source"])
    except (ValueError, OSError, MemoryError) as error:
        channel.sendall(pack({"error": str(error) or type(error).__name__}))
        return
    CallLoop(channel, table, memory).run()


def _limit_memory(limit: int | None) -> int | None:
    if limit is not None:
        taken = address_space() or 0
        if limit <= taken:
            raise ValueError(
                f"max_child_memory is {limit}, but a child takes {taken} at its start"
            )
        # The address space and not the memory in use: the kernel refuses an allocation beyond the
        # limit when it is asked for, so that no process has to measure how much is in use.
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit


def die_with_runner(lifeline: int) -> None:
    """Have the kernel kill this process group when the runner ends, however it ends.

    Where the kernel cannot (only Linux can), a child ends when it next waits for a job.

    :param lifeline: the reading end of a pipe on which nothing is ever written, and whose other
        end only the runner has
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # the runner has ended already
        os._exit(1)


def _set_up_output(formatter: str | None) -> None:
    # What a function has printed must not be lost when the process is killed.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if formatter is not None:
        handler = logging.StreamHandler()
        handler.setFormatter(pkgutil.resolve_name(formatter)())
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)


class CallLoop:
    """Answer the jobs that come over a socket.

    :param memory: bytes of address space that this process may take; None: no limit
    """

    def __init__(self, channel: socket.socket, table: Table, memory: int | None) -> None:
        self._channel = channel
        self._table = table
        self._pid = os.getpid()
        #: bytes of address space above which this process takes no further job
        self._enough: float | None = None
        size = address_space()
        if memory is not None and size is not None:
            self._enough = size + (memory - size) / 2

    def run(self) -> None:
        """Answer jobs until the socket is closed."""
        self._channel.sendall(pack({}))
        while (body := self._receive()) is not None:
            reply = self._call(body)
            if os.getpid() != self._pid:
                # The function has forked, and this is the copy, which has returned from it too.
                os._exit(0)
            self._channel.sendall(reply)

    def _receive(self) -> bytes | None:
        header = self._receive_exactly(HEADER.size)
        return None if header is None else self._receive_exactly(HEADER.unpack(header)[0])

    def _receive_exactly(self, size: int) -> bytes | None:
        chunks: list[bytes] = []
        while size:
            chunk = self._channel.recv(min(size, 1 << 20))
            if not chunk:
                return None
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _call(self, body: bytes) -> bytes:
        """Call the function that a body names, and return the reply."""
        failure: BaseException | None
        try:
            call = decode(body)
            entry = self._table.find(call)
            signal.signal(signal.SIGTERM, _stop)
            failure = perform(entry.make(), call.args, call.kwargs)
        except BaseException as error:
            failure = error
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(0)  # cancel an alarm of the function's own, which would end the next one
        if isinstance(failure, MemoryError):
            # Free what its frames hold: to describe the error takes memory too.
            traceback.clear_frames(failure.__traceback__)
        try:
            return self._reply(outcome_of_task(failure))
        except Exception as error:
            # For example, a subclass of Retry whose delay is no number.
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
        """Return whether what the job left in this process would harm the next one."""
        try:
            for fd in range(3):
                os.fstat(fd)
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # a stream was closed or replaced
            return True
        size = address_space() if self._enough is not None else None
        return size is not None and self._enough is not None and size > self._enough


def _stop(*_: object) -> NoReturn:
    raise Stopped("it was told to end")
