"""Waits for the processes that a runner inherits as process 1 of a container or as a subreaper.

Whatever a command leaves behind becomes a child of such a process, and stays a zombie until it is
waited for. The runner's own children are left to the parts of it that started them.
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

SCAN_DELAY = 0.5
"""Seconds from the exit of a child to the scan for zombies. Most have been waited for by then."""

FOREIGN_GRACE = 60.0
"""Seconds that other code in this process has to wait for a process which it may have started."""

_EXITED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_PR_GET_CHILD_SUBREAPER = 37


def adopts_orphans() -> bool:
    """Return whether the orphans among the descendants of this process become its children."""
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


class OrphanReaper:
    """Scan for zombies after each exit of a child, and wait for those that are orphans.

    :param shared: returns whether code that is not the runner's runs in this process. It may
        start processes of its own: those that are in our session, or lead a session, are left to
        it for `foreign_grace` seconds. No orphan of a command is in our session.
    :param scan_delay: seconds from the exit of a child to the scan
    """

    def __init__(
        self,
        shared: Callable[[], bool],
        scan_delay: float = SCAN_DELAY,
        foreign_grace: float = FOREIGN_GRACE,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._scan_delay = scan_delay
        self._foreign_grace = foreign_grace
        self._timer: asyncio.TimerHandle | None = None
        #: zombies that other code may wait for, with the time at which each was first seen
        self._foreign: dict[int, float] = {}

    def child_exited(self) -> None:
        """Scan soon, because a child has exited."""
        if self._timer is None or self._timer.when() > self._loop.time() + self._scan_delay:
            self._scan_in(self._scan_delay)

    def close(self) -> None:
        """Stop scanning."""
        if self._timer is not None:
            self._timer.cancel()

    def _scan_in(self, delay: float) -> None:
        self.close()
        self._timer = self._loop.call_later(delay, self._scan)

    def _scan(self) -> None:
        self._timer = None
        foreign: dict[int, float] = {}
        # Nearly always every zombie can be reaped, and the list of children is not needed.
        while (pid := _zombie(os.P_ALL, 0)) and self._reap(pid, foreign):
            pass
        if pid:
            for pid in _children():
                if _zombie(os.P_PID, pid):
                    self._reap(pid, foreign)
        self._foreign = foreign
        if foreign:
            due = min(foreign.values()) + self._foreign_grace
            self._scan_in(max(due - self._loop.time(), self._scan_delay))

    def _reap(self, pid: int, foreign: dict[int, float]) -> bool:
        """Wait for a zombie unless other code may do that; return whether it was reaped.

        :param foreign: gets the zombies that are left to other code
        """
        if pid in watched:
            return False
        now = self._loop.time()
        if self._shared() and os.getsid(pid) in (pid, os.getsid(0)):
            since = self._foreign.get(pid, now)
            if now < since + self._foreign_grace:
                foreign[pid] = since
                return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return True


def _zombie(kind: int, number: int) -> int:
    """Return the process id of a child that is a zombie; 0: there is none."""
    try:
        found = os.waitid(kind, number, _EXITED)
    except ChildProcessError:
        return 0
    return 0 if found is None else found.si_pid


def _children() -> list[int]:
    """Return all children of this process; none where the system does not list them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        # A container may see the processes of its host there.
        if os.readlink("/proc/self") == str(os.getpid()):
            for path in iglob("/proc/self/task/*/children"):
                with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                    found += map(int, file.read().split())
    return found


@contextmanager
def reap_orphans(
    shared: Callable[[], bool],
    scan_delay: float = SCAN_DELAY,
    foreign_grace: float = FOREIGN_GRACE,
) -> Iterator[None]:
    """Wait for orphans while the context lasts, if this process gets any.

    The arguments are those of :class:`OrphanReaper`.
    """
    if threading.current_thread() is not threading.main_thread() or not adopts_orphans():
        yield
        return
    loop = asyncio.get_running_loop()
    reaper = OrphanReaper(shared, scan_delay, foreign_grace)
    loop.add_signal_handler(signal.SIGCHLD, reaper.child_exited)
    reaper.child_exited()  # for the orphans that were there before
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
        reaper.close()
