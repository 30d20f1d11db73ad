"""Tells when children of this process have exited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable

watched: set[int] = set()
"""The children of this process, by pid, that somebody waits for."""


class Exits:
    """The children that are watched, of one event loop.

    Where the system has descriptors of processes, the loop gets one for all of them: to put
    each into the loop, and to take it out again, costs more than all else about an exit. There
    is nothing open while no child is watched.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._epoll: select.epoll | None = None  # while a child is watched
        self._pidfds: dict[int, int] = {}  # by pid
        self._exited: dict[int, Callable[[], None]] = {}  # by pidfd

    def watch(self, pid: int, exited: Callable[[], None]) -> None:
        """Have `exited` called in the running loop once this child can be waited for, perhaps
        more than once until it is forgotten. Until it is waited for, its number stays ours."""
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
        except (AttributeError, OSError):  # not Linux, or an old one; or too many are open
            threading.Thread(target=_wait, args=(pid, loop, exited), daemon=True).start()
        else:
            self._pidfds[pid] = pidfd
            self._exited[pidfd] = exited

    def _add(self, pidfd: int, loop: asyncio.AbstractEventLoop) -> None:
        if self._epoll is None:
            self._epoll, self._loop = select.epoll(), loop
            loop.add_reader(self._epoll.fileno(), self._look)
        self._epoll.register(pidfd, select.EPOLLIN)

    def forget(self, pid: int) -> None:
        """Watch it no longer, now that it was waited for."""
        watched.discard(pid)
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is None:
            return
        assert self._epoll is not None
        # Closing it would not do: a child that is just being started may have it open as well.
        self._epoll.unregister(pidfd)
        os.close(pidfd)
        del self._exited[pidfd]
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._epoll is not None and self._loop is not None and not self._pidfds:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = self._loop = None

    def _look(self) -> None:
        assert self._epoll is not None
        for pidfd, _ in self._epoll.poll(0):
            # One callback may have others forgotten.
            if pidfd in self._exited:
                self._exited[pidfd]()


def _wait(pid: int, loop: asyncio.AbstractEventLoop, exited: Callable[[], None]) -> None:
    with contextlib.suppress(ChildProcessError):
        # Without reaping it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(exited)
