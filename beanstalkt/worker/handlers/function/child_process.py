"""A child process for plain functions, from the runner's side.

A kept process of our own, and not one of a pool: a pool's workers share a pipe and its locks, so
that one of them which dies at the wrong moment, or sends what cannot be read, takes the jobs
of the others with it. Here each has its own socket, its own process group and no other descriptor.
It is started anew rather than forked: the runner has a loop that runs, and threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ...process.child_watcher import Exits
from ..base import CannotStart
from ..command.handler import inheritable
from .message import Incoming, frame

START_LIMIT = 60.0
"""Seconds that a child may take to import the functions."""

LINGER = 1.0
"""Seconds that a child which has done its last job may take to end."""

_CHUNK = 64 * 1024

_ANSWER = {"kind", "delay", "error", "details", "spoiled"}

_PROGRAM = """\
import json, sys
told = json.loads(sys.argv.pop())
sys.path[:] = told["path"]
from beanstalkt.worker.handlers.function.child import main
main(told)
"""


class Child:
    """One process, the leader of its own session and process group.

    :ivar ready: done when it has imported the functions; raises CannotStart
    :ivar ended: done when it is gone, and its group with it
    :ivar usable: it can be given a job
    :ivar jobs: how many it has been given
    """

    def __init__(self, told: Mapping[str, Any], exits: Exits) -> None:
        """Start it. Raises OSError, with nothing left behind, if it cannot be started.

        :param told: ``source``, ``max_memory`` and ``log_format`` for ``child.main``
        """
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.usable = True
        self.jobs = 0
        self.status: int | None = None  # minus a signal's number, as of a Popen
        self._broken = ""  # what was wrong with what it sent; it was killed for that
        self._reply: asyncio.Future[dict[str, Any] | None] | None = None
        self._incoming = Incoming()
        self._outgoing = memoryview(b"")
        self._exits = exits
        self._start(told)
        self._timer = self._loop.call_later(START_LIMIT, self.kill)
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._read)
        exits.watch(self._popen.pid, self._exited)
        # It is nobody's fault if nobody asks any more.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _start(self, told: Mapping[str, Any]) -> None:
        self._channel, theirs = socket.socketpair()
        life, self._life = os.pipe()
        said = {**told, "path": sys.path, "channel": theirs.fileno(), "life": life}
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(said)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), life),
                start_new_session=True,
                env=inheritable(os.environb),
            )
        except BaseException:
            self._channel.close()
            os.close(self._life)
            raise
        finally:
            theirs.close()
            os.close(life)

    # --- jobs ---

    def call(self, body: bytes) -> asyncio.Future[dict[str, Any] | None]:
        """Have it run a job; gives what it answers, or None if it ended before."""
        self.jobs += 1
        self._reply = self._loop.create_future()
        self._outgoing = memoryview(frame(body))
        if self.ended.done():
            self._reply.set_result(None)
        else:
            self._write()
        return self._reply

    def _write(self) -> None:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self._channel.send(self._outgoing) :]
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._write)
            return
        except OSError:  # it is gone, or has closed the socket, which is noticed anyway
            self._outgoing = memoryview(b"")
        self._loop.remove_writer(self._channel)

    def _read(self) -> None:
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # It ends, or a function has closed what it does not own.
            self._break("closed its connection to the runner, and was ended by SIGKILL")
            return
        try:
            message = self._incoming.feed(data)
            if message is not None:
                self._take(json.loads(message))
        # A function has written to what it does not own.
        except (ValueError, RecursionError):
            self._break("sent the runner what is no answer, and was ended by SIGKILL")

    def _break(self, what: str) -> None:
        self._broken = self._broken or what
        self._loop.remove_reader(self._channel)
        self.kill()

    def _take(self, message: Any) -> None:
        expected = _ANSWER if self.ready.done() else set()
        if not isinstance(message, dict) or not expected <= message.keys():
            raise ValueError("no answer")
        if not self.ready.done():
            self._timer.cancel()
            if "error" in message:
                self.usable = False
                self.ready.set_exception(CannotStart(message["error"]))
            else:
                self.ready.set_result(None)
        elif self._reply is not None and not self._reply.done():
            self._reply.set_result(message)

    # --- its end ---

    def terminate(self, grace: float) -> None:
        """Tell it and all that it started to end; kill them after `grace` seconds."""
        self.usable = False
        self._signal(signal.SIGTERM)
        self._timer.cancel()
        self._timer = self._loop.call_later(grace, self.kill)

    def retire(self) -> None:
        """Have it end by itself, now that it has nothing to do."""
        self.usable = False
        if not self.ended.done():
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            self._timer.cancel()
            self._timer = self._loop.call_later(LINGER, self.kill)

    def kill(self) -> None:
        """End it and all that it started. `ended` follows."""
        self.usable = False
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # Once it is waited for, its number may be another's.
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)

    def _exited(self) -> None:
        if self.ended.done():
            return
        # Before it is waited for: until then the number of the group is its own.
        self.kill()
        self._read()  # what it said last
        self.status = self._popen.wait()
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        os.close(self._life)
        self._exits.forget(self._popen.pid)
        self.ended.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(CannotStart(f"the child process {self.fate()}"))
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(None)

    def fate(self) -> str:
        """How it ended, in words."""
        if self._broken and self.status == -signal.SIGKILL:
            return self._broken
        if self.status is None or self.status >= 0:
            return f"ended with exit status {self.status}"
        try:
            return f"was ended by {signal.Signals(-self.status).name}"
        except ValueError:  # a real-time signal
            return f"was ended by signal {-self.status}"
