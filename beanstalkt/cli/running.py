"""Running a coroutine until it ends, or until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def run_interruptible(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine until it ends; cancel it at the first Ctrl-C, and stop at the second.

    Raises KeyboardInterrupt then. `asyncio.run` does the same, but in Python 3.10 it raises that
    wherever the program happens to be.
    """
    usual = signal.default_int_handler
    handled = signal.getsignal(signal.SIGINT) is not usual or current_thread() is not main_thread()
    if sys.version_info >= (3, 11) or handled:
        return asyncio.run(coroutine)
    task: asyncio.Task[T] | None = None
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted or task is None or task.done():
            raise KeyboardInterrupt
        interrupted = True
        task.cancel()
        task.get_loop().call_soon_threadsafe(lambda: None)  # which wakes the loop up

    async def interruptible() -> T:
        nonlocal task
        task = asyncio.ensure_future(coroutine)
        return await task

    signal.signal(signal.SIGINT, interrupt)
    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, usual)
