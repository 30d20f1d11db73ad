"""The handler that awaits a coroutine function for each job."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tornado.gen import is_coroutine_function as is_tornado_coroutine

# Retry and Reject had their home here; what was pickled then looks for them here.
from ..policy.exceptions import Reject, Retry, outcome_of
from ..policy.outcome import SUCCESS, Outcome
from .base import Handler, WorkerJob

__all__ = ["CoroutineHandler", "Function", "Reject", "Retry", "is_coroutine_function"]

Function = Callable[[WorkerJob], Awaitable[object]]
"""A function that does a job. The job succeeds when it returns, whatever it returns."""


def is_coroutine_function(function: object) -> bool:
    """Return whether calling this gives something to await, as far as that can be told before."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isroutine(function):
        return is_tornado_coroutine(function)
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


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
