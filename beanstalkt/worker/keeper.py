"""Ends the commands of a runner that was killed. A program of its own; lifeline.py starts it.

Standard input is a pipe that only the runner can write to, and never does; its end of file says
that the runner has ended. Standard output is a file with a table of the commands under way. The
only argument is the runner's process id. Few modules are imported: each takes time and memory.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time

ENTRY = struct.Struct("=qq")
"""A line of the table: the process group of a command (0: it is just being started), and the inode
of its standard error, a pipe (0: there is no command)."""

START = 1.0
"""Seconds that a command which was just being started may take to be found."""

_PAUSE = 0.005
_SIGKILL = 9


def main(runner: int) -> None:
    """Wait for the end of the runner, and end what it has left."""
    wait(runner)
    starting: set[int] = set()
    for group, pipe in ENTRY.iter_unpack(_table()):
        if group:
            kill(group)
        elif pipe:
            starting.add(pipe)
    end = time.monotonic() + START
    while starting and time.monotonic() < end:
        starting -= kill_holders(starting)
        time.sleep(_PAUSE)


def wait(runner: int) -> None:
    """Return when the runner has ended. A copy of it that a function has forked holds the pipe,
    so that there may be no end of file: its process is watched as well."""
    watched = [0]
    try:  # noqa: SIM105 - contextlib is not imported
        watched.append(os.pidfd_open(runner))
    except (AttributeError, OSError):  # an older system, or it has ended
        pass
    if os.getppid() == runner:
        select.select(watched, [], [])


def kill(group: int) -> None:
    """End a process group at once: its job has been given to another worker already."""
    try:  # noqa: SIM105 - contextlib is not imported
        os.killpg(group, _SIGKILL)
    except OSError:  # gone, or another user's
        pass


def kill_holders(pipes: set[int]) -> set[int]:
    """End the groups of the session leaders that have one of these pipes as a standard stream;
    return the pipes that were found."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        try:
            held = pipes & {os.stat(f"/proc/{name}/fd/{fd}").st_ino for fd in range(3)}
            if held and os.getsid(int(name)) == int(name):
                kill(int(name))
                found |= held
        except (OSError, ValueError):  # gone, another user's, or no process
            pass
    return found


def _table() -> bytes:
    size = os.fstat(1).st_size
    return os.pread(1, size - size % ENTRY.size, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
    # Without what Python does at its end, which takes longer than all this.
    os._exit(0)
