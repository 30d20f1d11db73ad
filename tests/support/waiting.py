"""Waiting in tests: always for a condition, and never for longer than a test can bear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT = 20.0
"""Seconds that a condition may take on a busy machine."""

SOON = 5.0
"""Seconds; less than any timeout of a server that a test waits for."""


async def until(
    condition: Callable[[], object], what: str = "", *, timeout: float = TIMEOUT
) -> None:
    """Wait until `condition` holds, for what tells nobody when it changes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        assert loop.time() < deadline, f"not in time: {what or condition}"
        await asyncio.sleep(0.001)


async def until_awaited(condition: Callable[[], Awaitable[object]], what: str = "") -> None:
    """Wait until `condition`, which asks a server, holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TIMEOUT
    while not await condition():
        assert loop.time() < deadline, f"not in time: {what or condition}"
        await asyncio.sleep(0.005)


def block_until(
    condition: Callable[[], object], what: str = "", *, timeout: float = TIMEOUT
) -> None:
    """Wait until `condition` holds, in a test without a loop."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what or condition}"
        time.sleep(0.005)


async def soon(awaitable: Awaitable[T]) -> T:
    """Return the result, which must come before any timeout of the server has passed."""
    return await asyncio.wait_for(awaitable, SOON)
