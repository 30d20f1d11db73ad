"""Has the commands of a runner ended when the runner itself is killed (on Linux).

A process that is killed can do nothing itself, and the kernel's signal for the death of a parent
would reach neither a command that is started without a fork, nor what the command has started. So
a small process, the keeper, waits for the end of the runner. Commands come and go without it: the
runner writes their process groups to a file in memory, which the keeper reads only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..log.lines import log
from . import keeper
from .child_watcher import Exits
from .keeper import ENTRY
from .process import close_inherited

AGAIN = 5.0
"""Seconds after the start of a keeper before which no other is started."""

LAST_WAIT = 5.0
"""Seconds that a keeper may take to end."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SIZE = 4096  # of the table in bytes, at first
_BLOCKED = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
"""What stops a service is sent to the keeper as well, which is to end after the runner."""

MARK = b"_BEANSTALKT_RUNNER"
"""A variable in the environment of a command: which runner has started it."""

_shared: dict[asyncio.AbstractEventLoop, Lifeline] = {}


class Lifeline:
    """The table of the commands of one event loop, and the keeper that will read it.

    The runner has one while it runs; see :func:`held`. The keeper is started with the first
    command. Where there can be none, on another system than Linux or for want of a descriptor or
    a process, the commands run without it.
    """

    def __init__(self) -> None:
        self.users = 0
        #: by which the keeper knows a command whose process group could not be noted any more
        self.mark = (MARK, f"{os.getpid()}-{time.monotonic_ns()}".encode())
        self._loop = asyncio.get_running_loop()
        self._exits = Exits()
        self._free: list[int] = []  # places of the table, as offsets in bytes
        self._file: int | None = None  # that of the table
        self._table: mmap.mmap | None = None
        self._life: tuple[int, int] | None = None  # a pipe: the keeper's end, and ours
        self._pid: int | None = None  # the keeper's
        self._ended: asyncio.Future[None] = self._loop.create_future()  # for good
        self._again: asyncio.TimerHandle | None = None
        self._unused = sys.platform == "linux"  # no keeper was started yet
        self._warned = False

    # --- commands ---

    def start(self) -> int | None:
        """Note that a command is about to be started, with `mark` in its environment; return its
        place in the table."""
        if self._unused:
            self._unused = False
            self._start()
        if self._table is None:
            return None
        if not self._free:
            size = len(self._table)
            self._table.resize(2 * size)
            self._free = list(range(size, 2 * size, ENTRY.size))
        place = self._free.pop()
        ENTRY.pack_into(self._table, place, 0, _ticks())
        return place

    def started(self, place: int | None, group: int) -> None:
        """Note the process group of a command."""
        if place is not None and self._table is not None:
            ENTRY.pack_into(self._table, place, group, 1)

    def ended(self, place: int | None) -> None:
        """Note that a command and its group have ended, or that it could not be started."""
        if place is not None and self._table is not None:
            ENTRY.pack_into(self._table, place, 0, 0)
            self._free.append(place)

    # --- the keeper ---

    def _start(self) -> None:
        """Start a keeper, and see to it that there is another one should it end."""
        self._again = None
        try:
            if self._file is None:
                self._file = _above_standard(os.memfd_create("commands"))
            if self._table is None:
                os.ftruncate(self._file, _SIZE)
                self._table = mmap.mmap(self._file, _SIZE)
                self._free = list(range(0, _SIZE, ENTRY.size))
            if self._life is None:
                theirs, ours = os.pipe()
                self._life = _above_standard(theirs), _above_standard(ours)
            self._pid = self._spawn(self._life[0], self._file)
        except (AttributeError, OSError) as error:  # an old system; or there are too many
            if not self._warned:
                log.warning("commands will go on if this runner is killed: no keeper: %s", error)
            self._warned = True
            self._again = self._loop.call_later(AGAIN, self._start)
        else:
            self._since = self._loop.time()
            self._exits.watch(self._pid, self._exited)

    def _spawn(self, life: int, table: int) -> int:
        source = Path(keeper.__file__).read_text("utf-8")
        # Isolated, and without `site`: half the time and the memory.
        mark = os.fsdecode(b"=".join(self.mark))
        argv = [sys.executable, "-I", "-S", "-c", source, str(os.getpid()), mark]
        return os.posix_spawn(
            sys.executable or "",
            argv,
            os.environb,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, life, 0),
                (os.POSIX_SPAWN_DUP2, table, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                *close_inherited(),
            ],
            setsid=True,
            setsigmask=_BLOCKED,
        )

    def _exited(self) -> None:
        assert self._pid is not None
        self._exits.forget(self._pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pid = None
        if self._life is None:  # it was to end
            self._ended.set_result(None)
            return
        log.warning("the keeper, which ends the commands of a killed runner, has ended: another")
        pause = max(self._since + AGAIN - self._loop.time(), 0.0)
        self._again = self._loop.call_later(pause, self._start)

    # --- its end ---

    async def leave(self) -> None:
        """One user less. With the last one the keeper ends, and whatever is in the table."""
        self.users -= 1
        if self.users:
            return
        del _shared[self._loop]
        self._unused = False
        self.close()
        if self._pid is not None:
            _, stuck = await asyncio.wait({self._ended}, timeout=LAST_WAIT)
            if stuck:
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Have the keeper end."""
        if self._again is not None:
            self._again.cancel()
        if self._life is not None:
            for fd in self._life:
                os.close(fd)
            self._life = None
        if self._table is not None:
            self._table.close()
            self._table = None
        if self._file is not None:
            os.close(self._file)
            self._file = None


@asynccontextmanager
async def held() -> AsyncIterator[Lifeline]:
    """While it lasts, the running loop has a lifeline, for whoever else has asked for it too."""
    loop = asyncio.get_running_loop()
    found = _shared.get(loop)
    if found is None:
        found = _shared[loop] = Lifeline()
    found.users += 1
    try:
        yield found
    finally:
        await found.leave()


def current() -> Lifeline | None:
    """Return the lifeline of the running loop, if it has one."""
    return _shared.get(asyncio.get_running_loop())


def _ticks() -> int:
    """The time as the kernel notes it for the start of a process."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def _above_standard(fd: int) -> int:
    """Move a file off the numbers of the standard streams, which may be closed in the runner."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
