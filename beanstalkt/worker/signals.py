"""Control a runner by signals."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Controllable(Protocol):
    """A runner as its signals need it."""

    def stop(self) -> None:
        """Stop; called again, stop faster."""

    def reload(self) -> None:
        """Read the configuration again."""

    def pause(self) -> None:
        """Reserve no more jobs."""

    def resume(self) -> None:
        """Reserve jobs again."""


@contextmanager
def signals(
    runner: Controllable, hangup: bool = False, on_stop: Callable[[int], None] | None = None
) -> Iterator[None]:
    """Let signals control a runner within the context.

    TERM and INT stop it, USR1 pauses it, USR2 resumes it.
    Outside the main thread, which alone can handle signals, no signal is handled.

    :param hangup: whether HUP reloads the configuration; otherwise its handler stays
    :param on_stop: called with the number of each signal that stops the runner
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
            # None stands for a handler that was not set from Python, and cannot be set again.
            if handler is not None:
                signal.signal(number, handler)
