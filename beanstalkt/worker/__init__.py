"""The worker runner: takes jobs from tubes, runs a handler for each, and settles them.

For a Python program there are :class:`Worker`, :class:`Retry` and :class:`Reject`. The command
line's ``work`` is in ``main``; ``handler`` says how to write a handler of another kind.
"""

from __future__ import annotations

from .handlers.coroutine import Reject, Retry
from .worker import Worker

__all__ = ["Reject", "Retry", "Worker"]
