"""Waits for the processes that a runner inherits: as process 1 of a container, or as a subreaper.

Whatever a command leaves behind becomes a child of such a process, and stays a zombie until it is
waited for. The runner's own children are left to those who started them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import iglob

from .child_watcher import watched

DELAY = 0.5
"""Seconds from the exit of a child to the look for zombies. Most are waited for by then."""

GRACE = 60.0
"""Seconds that code which runs in this process has to wait for a process that it may have
started."""

_EXITED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_PR_GET_CHILD_SUBREAPER = 37


def adopts() -> bool:
    """Whether the orphans among the descendants of this process become its children."""
    return os.getpid() == 1 or _is_subreaper()


def _is_subreaper() -> bool:
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        found = ctypes.c_int(0)
        failed = ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    except (ImportError, OSError, AttributeError):  # a Python without ctypes
        return False
    return not failed and bool(found.value)


class Orphans:
    """Looks for zombies after each exit of a child.

    :param shared: whether code that is not the runner's runs in this process. It may start
        processes of its own: those that are in our session, or lead one, get `GRACE`. No orphan
        of a command is in our session.
    """

    def __init__(self, shared: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._timer: asyncio.TimerHandle | None = None
        self._seen: dict[int, float] = {}  # zombies that somebody may wait for, and since when

    def exited(self) -> None:
        """Look soon: a child has exited."""
        if self._timer is None or self._timer.when() > self._loop.time() + DELAY:
            self._look_in(DELAY)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_in(self, delay: float) -> None:
        self.close()
        self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        left: dict[int, float] = {}
        # Nearly always all that there is can be taken, and nobody needs a list.
        while (pid := _exited(os.P_ALL, 0)) and self._take(pid, left):
            pass
        if pid:
            for pid in _children():
                if _exited(os.P_PID, pid):
                    self._take(pid, left)
        self._seen = left
        if left:
            self._look_in(max(min(left.values()) + GRACE - self._loop.time(), DELAY))

    def _take(self, pid: int, left: dict[int, float]) -> bool:
        """Wait for a zombie, unless somebody else will; whether it was taken."""
        if pid in watched:
            return False
        now = self._loop.time()
        if self._shared() and os.getsid(pid) in (pid, os.getsid(0)):
            since = self._seen.get(pid, now)
            if now < since + GRACE:
                left[pid] = since
                return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return True


def _exited(kind: int, number: int) -> int:
    """The process id of a child that has exited and was not waited for; 0: there is none."""
    try:
        found = os.waitid(kind, number, _EXITED)
    except ChildProcessError:
        return 0
    return 0 if found is None else found.si_pid


def _children() -> list[int]:
    """All children of this process; none where the system does not list them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        # A container may see the processes of its host there.
        if os.readlink("/proc/self") == str(os.getpid()):
            for path in iglob("/proc/self/task/*/children"):
                with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                    found += map(int, file.read().split())
    return found


@contextmanager
def reaped(shared: Callable[[], bool]) -> Iterator[None]:
    """While it lasts, orphans are waited for, if this process gets any."""
    if threading.current_thread() is not threading.main_thread() or not adopts():
        yield
        return
    loop = asyncio.get_running_loop()
    orphans = Orphans(shared)
    loop.add_signal_handler(signal.SIGCHLD, orphans.exited)
    orphans.exited()  # those that were there before
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
        orphans.close()
