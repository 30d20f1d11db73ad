"""The worker runner: takes jobs from tubes, runs a handler for each, and settles them.

A Python program uses :class:`Worker`, :class:`WorkerJob`, the job that its handler gets,
:class:`Retry` and :class:`Reject`. The command line's ``work`` is in ``beanstalkt.cli.work``. How
to write a handler of another kind is explained in ``beanstalkt.worker.handlers.base``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .handlers.base import WorkerJob
from .policy.exceptions import Reject, Retry

if TYPE_CHECKING:
    from .worker import Worker

__all__ = ["Reject", "Retry", "Worker", "WorkerJob"]

if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> object:
        # A child that calls functions needs the exceptions that they raise, and no runner.
        if name == "Worker":
            from .worker import Worker

            return Worker
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
