"""Ends the commands of a runner that was killed. A program of its own; lifeline.py starts it.

Standard input is a pipe that only the runner can write to, and never does; its end of file says
that the runner has ended. Standard output is a file with a table of the commands under way. The
arguments are the runner's process id, and what stands in the environment of all its commands.
Few modules are imported: each takes time and memory.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time

ENTRY = struct.Struct("=qq")
"""A line of the table: the process group of a command (0: it is just being started), and since
when the line is used, in ticks of the clock since the system was started (0: it is not)."""

START = 5.0
"""Seconds that a command which was just being started may take to be found."""

_SIGKILL = 9


def main(runner: int, mark: bytes) -> None:
    """Wait for the end of the runner, and end what it has left."""
    wait(runner)
    starting: list[int] = []
    killed: set[int] = set()
    for group, since in ENTRY.iter_unpack(_table()):
        if group:
            kill(group)
            killed.add(group)
        elif since:
            starting.append(since)
    expected = len(killed) + len(starting)
    end = time.monotonic() + START
    pause = 0.005
    while len(killed) < expected and time.monotonic() < end:
        kill_marked(mark, min(starting), killed)
        time.sleep(pause)
        pause = min(2 * pause, 0.2)


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


def kill_marked(mark: bytes, since: int, killed: set[int]) -> None:
    """End the groups of the commands with this mark that were started since then.

    :param since: in ticks of the clock since the system was started
    :param killed: groups that were killed before, and may still be there; those of now are added
    """
    for name in os.listdir("/proc"):
        try:
            if os.getsid(int(name)) == int(name) and int(name) not in killed:
                with open(f"/proc/{name}/environ", "rb") as environ:
                    marked = mark in environ.read().split(b"\0")
                if marked and _started(name) >= since:
                    kill(int(name))
                    killed.add(int(name))
        except (OSError, ValueError):  # gone, another user's, or no process
            pass


def _started(name: str) -> int:
    with open(f"/proc/{name}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])


def _table() -> bytes:
    size = os.fstat(1).st_size
    return os.pread(1, size - size % ENTRY.size, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), os.fsencode(sys.argv[2]))
    # Without what Python does at its end, which takes longer than all this.
    os._exit(0)
