"""Calls back when children of this process have exited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable

watched: set[int] = set()
"""The process ids of the children of this process that a ChildWatcher watches."""


class ChildWatcher:
    """Watch children of this process on one event loop.

    Where the system has descriptors of processes, the loop watches one epoll descriptor that
    stands for all of them: to add each to the loop and to remove it again costs more than
    everything else about an exit. Nothing is open while no child is watched.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._epoll: select.epoll | None = None  # while a child is watched
        self._pidfds: dict[int, int] = {}  # by pid
        self._exited: dict[int, Callable[[], None]] = {}  # by pidfd

    def watch(self, pid: int, exited: Callable[[], None]) -> None:
        """Call `exited` on the running loop after this child has exited.

        The child is not waited for, so that its number stays its own until the caller does that.
        `exited` may be called several times, until :meth:`forget` is called.
        """
        loop = asyncio.get_running_loop()
        watched.add(pid)
        try:
            pidfd = os.pidfd_open(pid)
            try:
                self._add(pidfd, loop)
            except BaseException:
                os.close(pidfd)
                self._close_if_unused()
                raise
        except (AttributeError, OSError):  # not Linux, an old one, or too many descriptors
            threading.Thread(target=_wait, args=(pid, loop, exited), daemon=True).start()
        else:
            self._pidfds[pid] = pidfd
            self._exited[pidfd] = exited

    def _add(self, pidfd: int, loop: asyncio.AbstractEventLoop) -> None:
        if self._epoll is None:
            self._epoll, self._loop = select.epoll(), loop
            loop.add_reader(self._epoll.fileno(), self._call_back)
        self._epoll.register(pidfd, select.EPOLLIN)

    def forget(self, pid: int) -> None:
        """Stop watching a child, after it was waited for."""
        watched.discard(pid)
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is None:
            return
        assert self._epoll is not None
        # Closing is not enough: a child that is just being started may have the file open too.
        self._epoll.unregister(pidfd)
        os.close(pidfd)
        del self._exited[pidfd]
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._epoll is not None and self._loop is not None and not self._pidfds:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = self._loop = None

    def _call_back(self) -> None:
        assert self._epoll is not None
        for pidfd, _ in self._epoll.poll(0):
            # A callback may have called `forget` for other children.
            if pidfd in self._exited:
                self._exited[pidfd]()


def _wait(pid: int, loop: asyncio.AbstractEventLoop, exited: Callable[[], None]) -> None:
    """Wait in a thread until a child has exited, and call back on the loop."""
    with contextlib.suppress(ChildProcessError):
        # WNOWAIT: the child is left for whoever started it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(exited)
