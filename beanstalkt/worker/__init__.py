"""The worker runner: reserves jobs from tubes, runs a handler for each, and settles them.

A Python program uses :class:`Worker`, :class:`Retry` and :class:`Reject`. What a runner reports is
in ``events``; ``handlers.base`` says how to write a handler of another kind.
"""

from __future__ import annotations

from .handlers.coroutine import Reject, Retry
from .worker import Worker

__all__ = ["Reject", "Retry", "Worker"]
