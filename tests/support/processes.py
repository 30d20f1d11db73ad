"""Processes that tests start, and the files by which they tell how far they are."""

from __future__ import annotations

import os
from pathlib import Path

from .program import helpers
from .waiting import until

long_lived: set[int] = set()
"""The children that outlive a test, such as database servers: they are not what it has left."""


async def until_written(path: Path) -> str:
    """Wait until a process has written this file with a whole last line; return the text."""
    await until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path} is written")
    return path.read_text()


def gone(pid: int) -> bool:
    """Return whether a process that is not our child has ended, or is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until_gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    await until(lambda: gone(pid), f"process {pid} ends")


def children() -> list[int]:
    """Return the children of this thread's process that it has not waited for."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if int(pid) not in helpers() | long_lived]


def no_child_left() -> None:
    """Assert that no child is left, and show the commands of those that are."""
    left = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children()]
    assert not left, f"children are left: {left}"
