"""What the signals mean to a runner."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Told(Protocol):
    """What a runner can be told."""

    def stop(self) -> None: ...
    def reload(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


@contextmanager
def signals(
    runner: Told, hangup: bool = False, on_stop: Callable[[int], None] | None = None
) -> Iterator[None]:
    """While it lasts: TERM and INT stop, USR1 pauses, USR2 resumes.

    Without effect outside the main thread, which alone can handle signals.

    :param hangup: HUP reloads; else it keeps the meaning it has
    :param on_stop: called with the number of each signal that stops
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if on_stop is not None:
            on_stop(number)
        runner.stop()

    meanings: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: lambda: stop(signal.SIGTERM),
        signal.SIGINT: lambda: stop(signal.SIGINT),
        signal.SIGUSR1: runner.pause,
        signal.SIGUSR2: runner.resume,
    }
    if hangup:
        meanings[signal.SIGHUP] = runner.reload
    old = {number: signal.getsignal(number) for number in meanings}
    for number, meaning in meanings.items():
        loop.add_signal_handler(number, meaning)
    try:
        yield
    finally:
        for number, handler in old.items():
            loop.remove_signal_handler(number)
            # None: it was not set from Python, and cannot be set again.
            if handler is not None:
                signal.signal(number, handler)
