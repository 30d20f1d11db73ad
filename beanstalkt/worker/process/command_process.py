"""A running command: starts it, feeds and drains its pipes, stops it, waits for it.

asyncio's subprocesses are not used: their ``wait`` also waits for every other process that holds
the pipes, and a grandchild may hold them for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from .captured_output import CapturedOutput
from .child_watcher import ChildWatcher
from .command_guard import CommandGuard
from .descriptors import FileAction
from .process_group import group_exists, signal_group

LINGER = 1.0
"""Seconds that processes which a command left in its group, or on its pipes, may go on."""

LISTEN_DELAY = 0.005
"""Seconds after the start of a command until the loop watches its pipes."""

_IGNORED = [signal.SIGPIPE, signal.SIGXFSZ]
"""Signals that Python ignores, and that must have their default effect on a command."""

_POLL_INTERVAL = 0.02


class CommandProcess:
    """A running command, the leader of its own session and process group.

    :ivar over: whether the leader has exited, its group is gone, and both pipes are closed
    """

    def __init__(
        self,
        argv: Sequence[str],
        body: bytes,
        environment: Mapping[bytes, bytes],
        watcher: ChildWatcher,
        closing: Sequence[FileAction] = (),
        guard: CommandGuard | None = None,
        linger: float = LINGER,
        outputs: tuple[CapturedOutput, CapturedOutput] | None = None,
    ) -> None:
        """Start the command. Raises OSError, with nothing left behind, if that fails.

        :param closing: what :func:`~beanstalkt.worker.process.descriptors.close_inherited`
            returned
        :param guard: has the command killed if this process is killed
        :param linger: seconds that processes which the command left behind may go on
        :param outputs: take the standard output and the standard error
        """
        self._loop = asyncio.get_running_loop()
        self.over = False
        self._waiter: asyncio.Future[None] | None = None
        self.stdout, self.stderr = outputs or (CapturedOutput(), CapturedOutput())
        self._status: int | None = None  # the leader's, once it has exited
        self._exited = False
        self._killed = False
        self._linger = linger
        self._deadline = 0.0  # for what the command left behind, on the loop's clock
        self._check_timer: asyncio.TimerHandle | None = None
        self._body = memoryview(body)  # what is still to be written
        self._stdin: int | None = None
        self._pipes: dict[int, CapturedOutput] = {}  # those that are still open
        self._listening = False
        self._watcher = watcher
        self._guard = guard
        self._record: int | None = None  # in the table of the guard
        self.pid = self._start(argv, environment, closing)
        watcher.watch(self.pid, self._reap)
        for fd in self._pipes:
            os.set_blocking(fd, False)
        # Many a command ends so soon that its pipes need be read only once, after its end.
        self._listen_timer = self._loop.call_later(LISTEN_DELAY, self._listen)

    def _start(
        self,
        argv: Sequence[str],
        environment: Mapping[bytes, bytes],
        closing: Sequence[FileAction],
    ) -> int:
        fds: list[int] = []
        try:
            for _ in range(3):
                fds += os.pipe()
            stdin, feed, drain_out, stdout, drain_err, stderr = fds
            # Before the start: most bodies fit into the pipe whole, so that the command finds
            # the end of file there from the beginning.
            os.set_blocking(feed, False)
            self._feed(feed)
            pid = self._spawn(argv, environment, (stdin, stdout, stderr), closing)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        self._pipes = {drain_out: self.stdout, drain_err: self.stderr}
        if self._body:
            self._stdin = feed
            self._loop.add_writer(feed, self._write)
        else:
            os.close(feed)
        return pid

    def _spawn(
        self,
        argv: Sequence[str],
        environment: Mapping[bytes, bytes],
        streams: tuple[int, int, int],
        closing: Sequence[FileAction],
    ) -> int:
        """Start the command with these standard streams, and note it in the guard's table."""
        if self._guard is not None:
            self._record = self._guard.starting()
        try:
            # Not subprocess.Popen: it blocks the loop for twice as long.
            pid = os.posix_spawnp(
                argv[0],
                tuple(argv),
                environment,
                file_actions=[
                    *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)),
                    *closing,
                ],
                setsid=True,
                setsigdef=_IGNORED,
            )
        except BaseException:
            if self._guard is not None:
                self._guard.ended(self._record)
            raise
        if self._guard is not None:
            self._guard.started(self._record, pid)
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
            # The command has closed its standard input; only its exit status matters.
            self._body = self._body[:0]
        if not self._body:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _listen(self) -> None:
        self._listening = True
        for fd in self._pipes:
            self._loop.add_reader(fd, self._read, fd)

    def _read(self, fd: int) -> bool:
        """Read one chunk from a pipe; return whether there may be more."""
        output = self._pipes[fd]
        try:
            data = os.read(fd, output.chunk)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            output.feed(data)
            return True
        self._close_pipe(fd)
        self._finish_if_over()
        return False

    def _close_pipe(self, fd: int) -> None:
        if self._listening:
            self._loop.remove_reader(fd)
        os.close(fd)
        del self._pipes[fd]

    def _drain(self) -> None:
        """Read what the pipes hold now.

        Stops after a few pipefuls, so that a grandchild which never stops writing cannot block
        the loop.
        """
        for fd in list(self._pipes):
            for _ in range(32):
                if not self._read(fd):
                    break

    # --- the end ---

    async def wait(self) -> int | None:
        """Wait until `over`; return the exit status, or minus the number of the signal.

        Returns None if other code has waited for the process, so that its status is unknown.
        Only one task at a time may wait. Cancelling it does not stop the command.
        """
        while not self.over:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._status

    def _reap(self) -> None:
        """Wait for the leader, if it has exited."""
        if self._exited:
            return
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._status = None  # other code has waited for it; this is no success
        else:
            if not pid:
                return
            self._status = os.waitstatus_to_exitcode(status)
        self._exited = True
        # After a SIGKILL to the group no process of it is left to wait for.
        self._deadline = self._loop.time() + (0 if self._killed else self._linger)
        self._watcher.forget(self.pid)
        self._close_stdin()
        self._drain()
        self._finish_if_over()
        if not self.over:
            self._check_group()

    def _finish_if_over(self) -> None:
        if self._exited and not self._pipes and not self.over and not group_exists(self.pid):
            self._finish()

    def _check_group(self) -> None:
        """Finish if the group is gone; kill it if its time is over; else check again later."""
        # Orphans are children of this process if it is the init of its container, and a zombie
        # would count as a member of the group.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG) != (0, 0):
                pass
        self._finish_if_over()
        if self.over:
            return
        if self._loop.time() < self._deadline:
            self._check_timer = self._loop.call_later(_POLL_INTERVAL, self._check_group)
            return
        signal_group(self.pid, signal.SIGKILL)
        self._drain()
        self._finish()

    def _finish(self) -> None:
        self._listen_timer.cancel()
        if self._check_timer is not None:
            self._check_timer.cancel()
        for fd in list(self._pipes):
            self._close_pipe(fd)
        if self._guard is not None:
            self._guard.ended(self._record)
        self.over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- signals ---

    def terminate(self) -> None:
        """Send SIGTERM to the whole group."""
        if not self.over:
            signal_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the whole group. This does not wait for its end."""
        if self.over:
            return
        self._killed = True
        self._deadline = 0.0
        if not self._exited or group_exists(self.pid):
            signal_group(self.pid, signal.SIGKILL)

    def abandon(self) -> None:
        """Kill the command and close its pipes, if it is not over; no task waits for it any more.

        It is over as soon as the loop learns of its exit.
        """
        if self.over:
            return
        self.kill()
        self._close_stdin()
        self._listen_timer.cancel()
        for fd in list(self._pipes):
            self._close_pipe(fd)
        self._reap()
        if self._exited and not self.over:
            self._check_group()
