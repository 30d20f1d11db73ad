"""A handler of SIGALRM for a while, for tests of what signals do to a call."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_alarm(handler: Callable[..., object]) -> Iterator[None]:
    """Have a handler called for SIGALRM in the body of a ``with``.

    Garbage is not collected meanwhile: an exception that a handler raises during a collection is
    an exception of whoever observes collections, as Hypothesis does, and is dropped.
    """
    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
