"""The handler that awaits a coroutine function for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

# Retry and Reject had their home here; what was pickled then looks for them here.
from ..policy.exceptions import Reject, Retry, outcome_of
from ..policy.outcome import SUCCESS, Outcome
from .base import Handler, WorkerJob

__all__ = ["CoroutineHandler", "Function", "Reject", "Retry"]

Function = Callable[[WorkerJob], Awaitable[object]]
"""A function that does a job. The job succeeds when it returns, whatever it returns."""


class CoroutineHandler(Handler):
    """Await ``function(work)`` on the event loop; cancel it to stop it."""

    def __init__(self, function: Function) -> None:
        self.function = function

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> CoroutineHandler:
        """Return a handler that awaits ``values["function"]``."""
        return cls(values["function"])

    def describe(self) -> str:
        """Return the path of the function."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"function {getattr(self.function, '__module__', '')}.{name}"

    async def run(self, work: WorkerJob) -> Outcome:
        """Await the function, and return what its end means for the job."""
        try:
            await self.function(work)
        except asyncio.CancelledError:
            raise  # the slot knows whether it was the one that cancelled
        # SystemExit included: a function that calls sys.exit() fails, and the worker goes on.
        except BaseException as error:
            return outcome_of(error)
        return SUCCESS
