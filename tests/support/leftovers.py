"""What a test may leave behind: no task, no timer, no descriptor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from .waiting import until


def descriptors() -> set[str]:
    """Return the open file descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


def timers() -> int:
    """Return the number of timers of the running loop that have not been cancelled."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not timer.cancelled() for timer in scheduled)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Assert that there are no more tasks, timers and descriptors at the end than before."""

    def state() -> tuple[int, int, int]:
        return len(asyncio.all_tasks()), timers(), len(descriptors())

    before = state()
    yield
    with suppress(AssertionError):
        await until(
            lambda: all(now <= was for now, was in zip(state(), before, strict=True)), timeout=2
        )
    left = [now - was for now, was in zip(state(), before, strict=True)]
    assert max(left) <= 0, f"left behind (tasks, timers, descriptors): {left}"
