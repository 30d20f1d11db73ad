"""A command under way: started, fed, drained, stopped, and waited for, on the event loop.

It does without asyncio's subprocesses: their ``wait`` also waits for whoever else holds the
pipes, and a grandchild may hold them for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .child_watcher import Exits
from .output import Output

if TYPE_CHECKING:
    from .lifeline import Lifeline

LINGER = 1.0
"""Seconds that what a command left behind, in its process group or on its pipes, may go on."""

LISTEN = 0.005
"""Seconds before the pipes of a command that still runs are listened to."""

_IGNORED = [signal.SIGPIPE, signal.SIGXFSZ]
"""What Python ignores and a command expects to be ended by."""

_CHUNK = 64 * 1024
_POLL = 0.02


Action = tuple[int, int]
"""What is done to a descriptor of a command before it starts, as ``os.posix_spawn`` takes it."""


class Process:
    """One command, the leader of its own session and process group.

    :ivar over: the leader has exited, its group is gone, both pipes are closed
    """

    def __init__(
        self,
        argv: Sequence[str],
        body: bytes,
        environment: Mapping[bytes, bytes],
        exits: Exits,
        closing: Sequence[Action] = (),
        lifeline: Lifeline | None = None,
    ) -> None:
        """Start it. Raises OSError, with nothing left behind, if it cannot be started.

        :param closing: what :func:`close_inherited` returned
        :param lifeline: ends it if this process is killed
        """
        self._loop = asyncio.get_running_loop()
        self.over = False
        self._waiter: asyncio.Future[None] | None = None
        self.stdout = Output()
        self.stderr = Output()
        self._status: int | None = None  # the leader's, once it has exited
        self._exited = False
        self._killed = False
        self._deadline = 0.0  # of the linger, on the loop's clock
        self._linger: asyncio.TimerHandle | None = None
        self._body = memoryview(body)  # what is still to be written
        self._stdin: int | None = None
        self._pipes: dict[int, Output] = {}  # those that are still open
        self._listens = False
        self._exits = exits
        self._lifeline = lifeline
        self._place: int | None = None  # in the table of the lifeline
        self.pid = self._start(argv, environment, closing)
        exits.watch(self.pid, self._reap)
        for fd in self._pipes:
            os.set_blocking(fd, False)
        # Many a command ends so soon that its pipes are read once, after its end.
        self._listening = self._loop.call_later(LISTEN, self._listen)

    def _start(
        self, argv: Sequence[str], environment: Mapping[bytes, bytes], closing: Sequence[Action]
    ) -> int:
        fds: list[int] = []
        try:
            for _ in range(3):
                fds += os.pipe()
            stdin, feed, drain_out, stdout, drain_err, stderr = fds
            # Before the start: most bodies fit into the pipe whole, and the command then finds
            # its end of file there from the beginning.
            os.set_blocking(feed, False)
            self._feed(feed)
            if self._lifeline is not None:
                self._place = self._lifeline.start()
            # Not subprocess.Popen: it takes twice as long, in which the loop stands still.
            pid = os.posix_spawnp(
                argv[0],
                tuple(argv),
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, stdout, 1),
                    (os.POSIX_SPAWN_DUP2, stderr, 2),
                    *closing,
                ],
                setsid=True,
                setsigdef=_IGNORED,
            )
        except BaseException:
            for fd in fds:
                os.close(fd)
            if self._lifeline is not None:
                self._lifeline.ended(self._place)
            raise
        if self._lifeline is not None:
            self._lifeline.started(self._place, pid)
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        self._pipes = {drain_out: self.stdout, drain_err: self.stderr}
        if self._body:
            self._stdin = feed
            self._loop.add_writer(feed, self._write)
        else:
            os.close(feed)
        return pid

    # --- pipes ---

    def _feed(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._body:
                self._body = self._body[os.write(fd, self._body) :]

    def _write(self) -> None:
        assert self._stdin is not None
        try:
            self._feed(self._stdin)
        except OSError:
            # It does not read, which is its own affair: the exit status decides.
            self._body = self._body[:0]
        if not self._body:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _listen(self) -> None:
        self._listens = True
        for fd in self._pipes:
            self._loop.add_reader(fd, self._read, fd)

    def _read(self, fd: int) -> bool:
        """Take what is there, up to one chunk; whether there may be more."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._pipes[fd].feed(data)
            return True
        self._close_pipe(fd)
        self._finish_if_over()
        return False

    def _close_pipe(self, fd: int) -> None:
        if self._listens:
            self._loop.remove_reader(fd)
        os.close(fd)
        del self._pipes[fd]

    def _drain(self) -> None:
        """Take what the pipes hold now: not more than a few pipefuls, or a grandchild that
        never stops writing would keep us here."""
        for fd in list(self._pipes):
            for _ in range(32):
                if not self._read(fd):
                    break

    # --- the end ---

    async def wait(self) -> int | None:
        """Until all is over: the leader's exit status, or minus the number of the signal that
        ended it; None if somebody else took the status away. One at a time may wait; to cancel
        that ends nothing."""
        while not self.over:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._status

    def _reap(self) -> None:
        if self._exited:
            return
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._status = None  # somebody else took it away; not a success
        else:
            if not pid:
                return
            self._status = os.waitstatus_to_exitcode(status)
        self._exited = True
        # After a SIGKILL to the group there is nobody left to wait for.
        self._deadline = self._loop.time() + (0 if self._killed else LINGER)
        self._exits.forget(self.pid)
        self._close_stdin()
        self._drain()
        self._finish_if_over()
        if not self.over:
            self._look()

    def _finish_if_over(self) -> None:
        if self._exited and not self._pipes and not self.over and not self._group():
            self._finish()

    def _look(self) -> None:
        """Whether what the command left behind is gone; and make an end of it in time."""
        # Orphans are ours when this process is the init of its container, and a zombie would
        # count as somebody in the group.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG) != (0, 0):
                pass
        self._finish_if_over()
        if self.over:
            return
        if self._loop.time() < self._deadline:
            self._linger = self._loop.call_later(_POLL, self._look)
            return
        self._signal(signal.SIGKILL)
        self._drain()
        self._finish()

    def _finish(self) -> None:
        self._listening.cancel()
        if self._linger is not None:
            self._linger.cancel()
        for fd in list(self._pipes):
            self._close_pipe(fd)
        if self._lifeline is not None:
            self._lifeline.ended(self._place)
        self.over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- signals ---

    def _group(self) -> bool:
        """Whether anybody is left in the process group. While there is, its number is not
        given to another process."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it runs as another user
            return True
        return True

    def _signal(self, signum: int) -> None:
        # Gone, or running as another user: there is nothing that could be done.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    def terminate(self) -> None:
        """Ask the whole group to end."""
        if not self.over:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group. It is not waited for here."""
        if self.over:
            return
        self._killed = True
        self._deadline = 0.0
        if not self._exited or self._group():
            self._signal(signal.SIGKILL)

    def abandon(self) -> None:
        """Kill it, and let go of its pipes, when nobody waits for it any more. It is over as soon
        as the loop is told of its exit, without anybody being kept."""
        if self.over:
            return
        self.kill()
        self._close_stdin()
        self._listening.cancel()
        for fd in list(self._pipes):
            self._close_pipe(fd)
        self._reap()
        if self._exited and not self.over:
            self._look()


def close_inherited() -> list[Action]:
    """Return what closes, in a command, the descriptors that are not for it.

    Those that Python opens close by themselves. Those that this process was started with do not:
    before Python 3.13 they are told to, here and once. To have them closed at each start would
    take longer, and is refused for a number above the limit of descriptors (``ulimit -n``).
    """
    if hasattr(os, "POSIX_SPAWN_CLOSEFROM"):
        return [(os.POSIX_SPAWN_CLOSEFROM, 3)]
    for fd in map(int, os.listdir("/dev/fd")):
        if fd > 2:
            with contextlib.suppress(OSError):  # the folder's own one is closed again
                os.set_inheritable(fd, False)
    return []
