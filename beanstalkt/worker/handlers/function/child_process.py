"""A child process for plain functions, from the runner's side.

It is a process of our own and not one of a pool: the workers of a pool share a pipe and its
locks, so that one which dies at the wrong moment, or sends what cannot be read, takes the jobs of
the others with it. Here each has its own socket, its own process group and no other descriptor. It
is started anew rather than forked, because the runner has threads and a running loop.
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

from ...process.child_watcher import ChildWatcher
from ...process.environment import inheritable
from ...process.process_group import signal_group, signal_name
from ..base import CannotStart
from .framing import FrameReader, frame

START_TIMEOUT = 60.0
"""Seconds in which a child must have imported the functions."""

RETIRE_TIMEOUT = 1.0
"""Seconds in which a child that has done its last job must have ended."""

PROGRAM = """\
import json, sys
setup = json.loads(sys.argv.pop())
sys.path[:] = setup["path"]
from beanstalkt.worker.handlers.function.child_program import main
main(setup)
"""
"""What a child runs. Its last argument holds the setup for ``child_program.main``."""

_CHUNK = 64 * 1024

_REPLY_KEYS = {"kind", "delay", "error", "details", "spoiled"}


class ChildProcess:
    """A process that calls functions, the leader of its own session and process group.

    :ivar ready: done when it has imported the functions; raises CannotStart
    :ivar ended: done when it is gone, and its group with it
    :ivar usable: whether it can be given a job
    :ivar jobs: number of jobs that it has been given
    """

    def __init__(
        self,
        setup: Mapping[str, Any],
        watcher: ChildWatcher,
        program: str = PROGRAM,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        """Start the process. Raises OSError, with nothing left behind, if that fails.

        :param setup: ``source``, ``max_memory`` and ``formatter`` for ``child_program.main``
        """
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.usable = True
        self.jobs = 0
        self.status: int | None = None  # exit status, or minus the number of a signal
        self._broken = ""  # why it was killed: what was wrong with what it sent
        self._reply: asyncio.Future[dict[str, Any] | None] | None = None
        self._incoming = FrameReader()
        self._outgoing = memoryview(b"")
        self._watcher = watcher
        self._start(setup, program)
        self._timer = self._loop.call_later(start_timeout, self.kill)
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._read)
        watcher.watch(self._popen.pid, self._exited)
        # Mark the exception as retrieved: every job may have been cancelled meanwhile.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _start(self, setup: Mapping[str, Any], program: str) -> None:
        self._channel, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        setup = {**setup, "path": sys.path, "channel": theirs.fileno(), "lifeline": lifeline}
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", program, json.dumps(setup)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
                env=inheritable(os.environb),
            )
        except BaseException:
            self._channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)

    # --- jobs ---

    def call(self, body: bytes) -> asyncio.Future[dict[str, Any] | None]:
        """Send the body of a job; the result is the reply, or None if the process has ended."""
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
        except OSError:  # it has ended, or closed the socket: `_read` or `_exited` follows
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
            # It is about to end, or a function has closed the socket.
            self._kill_broken("closed its connection to the runner, and was ended by SIGKILL")
            return
        try:
            message = self._incoming.feed(data)
            if message is not None:
                self._take(json.loads(message))
        # A function has written to the socket.
        except (ValueError, RecursionError):
            self._kill_broken("sent the runner an invalid reply, and was ended by SIGKILL")

    def _kill_broken(self, reason: str) -> None:
        self._broken = self._broken or reason
        self._loop.remove_reader(self._channel)
        self.kill()

    def _take(self, message: Any) -> None:
        """Handle a message: the first says whether the start succeeded, all others are replies."""
        expected = _REPLY_KEYS if self.ready.done() else set()
        if not isinstance(message, dict) or not expected <= message.keys():
            raise ValueError("not a reply")
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
        """Send SIGTERM to the group of the process, and SIGKILL after `grace` seconds."""
        self.usable = False
        self._signal(signal.SIGTERM)
        self._timer.cancel()
        self._timer = self._loop.call_later(grace, self.kill)

    def retire(self) -> None:
        """Let the process, which has no job, end by itself; kill it if that takes too long."""
        self.usable = False
        if not self.ended.done():
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            self._timer.cancel()
            self._timer = self._loop.call_later(RETIRE_TIMEOUT, self.kill)

    def kill(self) -> None:
        """Send SIGKILL to the group of the process. `ended` follows."""
        self.usable = False
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # After the process was waited for, its number may be another's.
        if not self.ended.done():
            signal_group(self._popen.pid, number)

    def _exited(self) -> None:
        if self.ended.done():
            return
        # Kill before waiting: only until then the number of the group is certainly its own.
        self.kill()
        self._read()  # the last message
        self.status = self._popen.wait()
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        os.close(self._lifeline)
        self._watcher.forget(self._popen.pid)
        self.ended.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(CannotStart(f"the child process {self.describe_end()}"))
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(None)

    def describe_end(self) -> str:
        """Return in words how the process has ended."""
        if self._broken and self.status == -signal.SIGKILL:
            return self._broken
        if self.status is None or self.status >= 0:
            return f"ended with exit status {self.status}"
        name = signal_name(-self.status)
        return f"was ended by signal {name}" if name.isdigit() else f"was ended by {name}"
