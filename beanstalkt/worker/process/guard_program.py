"""The program that kills the commands of a runner which was killed; command_guard.py starts it.

Standard input is the lifeline: a pipe that only the runner can write to, and never does. Its end
of file says that the runner has ended. Standard output is a file in memory with the table of the
commands that run. The arguments are the runner's process id, and the mark that stands in the
environment of all its commands. Few modules are imported: each takes time and memory.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time

RECORD = struct.Struct("=qq")
"""A record of the table: the process group of a command (0: the command is being started), and
the time since which the record is used, in clock ticks since the boot (0: it is unused)."""

START_TIMEOUT = 5.0
"""Seconds in which a command that was being started must be found."""

_SIGKILL = 9


def main(runner: int, mark: bytes) -> None:
    """Wait until the runner has ended, and kill the commands that it left."""
    wait(runner)
    starting: list[int] = []
    killed: set[int] = set()
    for group, since in RECORD.iter_unpack(_table()):
        if group:
            kill(group)
            killed.add(group)
        elif since:
            starting.append(since)
    expected = len(killed) + len(starting)
    end = time.monotonic() + START_TIMEOUT
    pause = 0.005
    while len(killed) < expected and time.monotonic() < end:
        kill_marked(mark, min(starting), killed)
        time.sleep(pause)
        pause = min(2 * pause, 0.2)


def wait(runner: int) -> None:
    """Return after the runner has ended.

    Its process is watched as well as the lifeline: a copy of the runner that a function has
    forked holds the pipe open, so that no end of file may come.
    """
    watched = [0]
    try:  # noqa: SIM105 - contextlib is not imported
        watched.append(os.pidfd_open(runner))
    except (AttributeError, OSError):  # an older system, or the runner has ended
        pass
    if os.getppid() == runner:
        select.select(watched, [], [])


def kill(group: int) -> None:
    """Kill a process group at once: its job has been given to another worker already."""
    try:  # noqa: SIM105 - contextlib is not imported
        os.killpg(group, _SIGKILL)
    except OSError:  # it is gone, or another user's
        pass


def kill_marked(mark: bytes, since: int, killed: set[int]) -> None:
    """Kill the groups of the commands with this mark that were started at `since` or later.

    :param since: in clock ticks since the boot
    :param killed: groups that were killed before, and may still exist; new ones are added
    """
    for name in os.listdir("/proc"):
        try:
            group = os.getsid(int(name))
            if group in killed or os.getpgid(int(name)) != group:
                continue
            # A command leads its session. What it left behind is found by its own environment,
            # and only when the leader has ended: a living one speaks for its group.
            if int(name) != group and _environment(group):
                continue
            if mark in _environment(int(name)) and _started(int(name)) >= since:
                kill(group)
                killed.add(group)
        except (OSError, ValueError):  # it is gone, another user's, or no process
            pass


def _environment(pid: int) -> list[bytes]:
    """Return the environment of a process: empty when it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            content = environ.read()
    except (FileNotFoundError, ProcessLookupError):
        return []
    except PermissionError:  # so newer kernels say of a process that has ended, but not to root
        if _stat(pid)[0] == b"Z":
            return []
        raise
    return content.split(b"\0") if content else []


def _started(pid: int) -> int:
    """Return when a process was started, in clock ticks since the boot."""
    return int(_stat(pid)[19])


def _stat(pid: int) -> list[bytes]:
    """Return what the system tells of a process, from its state on."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()


def _table() -> bytes:
    size = os.fstat(1).st_size
    return os.pread(1, size - size % RECORD.size, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), os.fsencode(sys.argv[2]))
    # Skip what Python does at its end, which takes longer than everything above.
    os._exit(0)
