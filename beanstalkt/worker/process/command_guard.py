"""Has the commands of a runner killed when the runner itself is killed (on Linux).

A killed process can do nothing itself, and the kernel's signal for the death of a parent would
reach neither a command that was started without a fork, nor what the command has started. So a
small process, the guard, waits for the end of the runner. Starting and ending a command does not
involve the guard: the runner writes the process groups of its commands to a file in memory, which
the guard reads only when the runner has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from . import guard_program
from .child_watcher import ChildWatcher
from .descriptors import above_standard, close_inherited
from .guard_program import RECORD

RESTART_DELAY = 5.0
"""Seconds from the start of a guard until another one may be started."""

EXIT_TIMEOUT = 5.0
"""Seconds in which a guard must have ended; after them it is killed."""

TABLE_SIZE = 4096
"""Bytes of the table at first. It grows when it is full."""

MARK = b"_BEANSTALKT_RUNNER"
"""The variable in the environment of a command that says which runner started it."""

_TICKS = os.sysconf("SC_CLK_TCK")
_BLOCKED = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
"""Signals that the guard ignores: whoever stops a service sends them to every process of it, and
the guard must end after the runner."""

_shared: dict[asyncio.AbstractEventLoop, CommandGuard] = {}

log = logging.getLogger("beanstalkt.worker")


class CommandGuard:
    """Keep the table of the commands of one event loop, and the process that will read it.

    Use :func:`guarded` to get one. The guard process is started with the first command. Where
    that is impossible, on another system than Linux or for want of a descriptor or a process,
    commands run without it.

    :param restart_delay: seconds from the start of a guard until another one may be started
    :param table_size: bytes of the table at first
    """

    def __init__(self, restart_delay: float = RESTART_DELAY, table_size: int = TABLE_SIZE) -> None:
        self.users = 0
        #: variable and value by which the guard finds a command that was just being started
        self.mark = (MARK, f"{os.getpid()}-{time.monotonic_ns()}".encode())
        self._restart_delay = restart_delay
        self._table_size = table_size
        self._loop = asyncio.get_running_loop()
        self._watcher = ChildWatcher()
        self._free: list[int] = []  # unused records of the table, as offsets in bytes
        self._file: int | None = None  # that holds the table
        self._table: mmap.mmap | None = None
        self._lifeline: tuple[int, int] | None = None  # a pipe: the guard's end, and ours
        self._pid: int | None = None  # of the guard process
        self._gone: asyncio.Future[None] = self._loop.create_future()  # after the last guard
        self._restart: asyncio.TimerHandle | None = None
        self._unused = sys.platform == "linux"  # no guard was started yet
        self._warned = False

    # --- commands ---

    def starting(self) -> int | None:
        """Note that a command is about to be started; return its record in the table.

        The environment of the command must hold `mark`.
        """
        if self._unused:
            self._unused = False
            self._start()
        if self._table is None:
            return None
        if not self._free:
            size = len(self._table)
            self._table.resize(2 * size)
            self._free = list(range(size, 2 * size, RECORD.size))
        record = self._free.pop()
        RECORD.pack_into(self._table, record, 0, _ticks())
        return record

    def started(self, record: int | None, group: int) -> None:
        """Note the process group of a command that was started."""
        if record is not None and self._table is not None:
            RECORD.pack_into(self._table, record, group, 1)

    def ended(self, record: int | None) -> None:
        """Note that a command and its group have ended, or that it could not be started."""
        if record is not None and self._table is not None:
            RECORD.pack_into(self._table, record, 0, 0)
            self._free.append(record)

    # --- the guard process ---

    def _start(self) -> None:
        """Start a guard process; if that fails, try again later."""
        self._restart = None
        try:
            if self._file is None:
                self._file = above_standard(os.memfd_create("commands"))
            if self._table is None:
                os.ftruncate(self._file, self._table_size)
                self._table = mmap.mmap(self._file, self._table_size)
                self._free = list(range(0, self._table_size, RECORD.size))
            if self._lifeline is None:
                theirs, ours = os.pipe()
                self._lifeline = above_standard(theirs), above_standard(ours)
            self._pid = self._spawn(self._lifeline[0], self._file)
        except (AttributeError, OSError) as error:  # an old system, or too many are open
            if not self._warned:
                log.warning(
                    "cannot start the process that kills the commands of a killed runner: %s; if "
                    "this runner is killed, its commands will go on",
                    error,
                )
            self._warned = True
            self._restart = self._loop.call_later(self._restart_delay, self._start)
        else:
            self._since = self._loop.time()
            self._watcher.watch(self._pid, self._exited)

    def _spawn(self, lifeline: int, table: int) -> int:
        source = Path(guard_program.__file__).read_text("utf-8")
        # Isolated and without `site`, which takes half the time and the memory.
        mark = os.fsdecode(b"=".join(self.mark))
        argv = [sys.executable, "-I", "-S", "-c", source, str(os.getpid()), mark]
        return os.posix_spawn(
            sys.executable or "",
            argv,
            os.environb,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, lifeline, 0),
                (os.POSIX_SPAWN_DUP2, table, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                *close_inherited(),
            ],
            setsid=True,
            setsigmask=_BLOCKED,
        )

    def _exited(self) -> None:
        """Wait for a guard process that has exited, and replace it if it should not have."""
        assert self._pid is not None
        self._watcher.forget(self._pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pid = None
        if self._lifeline is None:  # it was told to end
            self._gone.set_result(None)
            return
        log.warning(
            "the process that kills the commands of a killed runner has ended; another one will "
            "be started"
        )
        pause = max(self._since + self._restart_delay - self._loop.time(), 0.0)
        self._restart = self._loop.call_later(pause, self._start)

    # --- its end ---

    async def release(self) -> None:
        """Give up one use. After the last one, end the guard process and drop the table."""
        self.users -= 1
        if self.users:
            return
        del _shared[self._loop]
        self._unused = False
        self.close()
        if self._pid is not None:
            _, stuck = await asyncio.wait({self._gone}, timeout=EXIT_TIMEOUT)
            if stuck:
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Tell the guard process to end, and close the files."""
        if self._restart is not None:
            self._restart.cancel()
        if self._lifeline is not None:
            for fd in self._lifeline:
                os.close(fd)
            self._lifeline = None
        if self._table is not None:
            self._table.close()
            self._table = None
        if self._file is not None:
            os.close(self._file)
            self._file = None


@asynccontextmanager
async def guarded(
    restart_delay: float = RESTART_DELAY, table_size: int = TABLE_SIZE
) -> AsyncIterator[CommandGuard]:
    """Give the running loop a command guard while the context lasts.

    Contexts on one loop share a guard, which keeps the arguments of the first.
    """
    loop = asyncio.get_running_loop()
    guard = _shared.get(loop)
    if guard is None:
        guard = _shared[loop] = CommandGuard(restart_delay, table_size)
    guard.users += 1
    try:
        yield guard
    finally:
        await guard.release()


def current_guard() -> CommandGuard | None:
    """Return the command guard of the running loop, or None if it has none."""
    return _shared.get(asyncio.get_running_loop())


def _ticks() -> int:
    """Return the time as the kernel notes it for the start of a process."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
