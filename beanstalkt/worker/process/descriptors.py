"""Descriptors across the start of a process: which it inherits, and which numbers they have."""

from __future__ import annotations

import contextlib
import fcntl
import os

FileAction = tuple[int, int]
"""A change to the descriptors of a command before it starts, as ``os.posix_spawn`` takes it."""


def close_inherited() -> list[FileAction]:
    """Return the file actions that close, in a command, the descriptors it must not inherit.

    Descriptors that Python opens are closed in every child. Those that this process was started
    with are not: before Python 3.13 this marks them, once, to be closed. To close them at each
    start would take longer, and is refused for a number above the limit (``ulimit -n``).
    """
    if hasattr(os, "POSIX_SPAWN_CLOSEFROM"):
        return [(os.POSIX_SPAWN_CLOSEFROM, 3)]
    for fd in map(int, os.listdir("/dev/fd")):
        if fd > 2:
            with contextlib.suppress(OSError):  # the folder's own descriptor is closed already
                os.set_inheritable(fd, False)
    return []


def above_standard(fd: int) -> int:
    """Move a file off the numbers of the standard streams, which may be closed in the runner."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
