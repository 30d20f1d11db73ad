"""The handler that awaits a coroutine function for each job; what the function may raise."""

from __future__ import annotations

import asyncio
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, SupportsFloat, SupportsIndex, SupportsInt

from ...protocol.arguments import MAX_NUMBER
from ..policy.outcome import SUCCESS, Kind, Outcome
from ..process.output import SHOWN
from .base import Handler, Work

Function = Callable[[Work], Awaitable[object]]
"""Returning is success, whatever it returns."""


class Retry(Exception):
    """Raised by a handler: release the job.

    :param delay: seconds before it is ready again, a number of any type that has a float;
        None: as the worker's ``delay`` and ``backoff`` say
    :ivar delay: it as a float, or None

    Raises ValueError for what is no number from 0 to 2**32 - 1.
    """

    def __init__(self, delay: SupportsFloat | SupportsIndex | SupportsInt | None = None) -> None:
        super().__init__(delay)
        self.delay = None if delay is None else _seconds(delay)


class Reject(Exception):
    """Raised by a handler: bury the job, for it can never succeed.

    :param reason: for the log
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class CoroutineHandler(Handler):
    """Awaits ``function(work)`` on the event loop. Cancelling it is all that stopping needs."""

    def __init__(self, function: Function) -> None:
        self.function = function

    @classmethod
    def from_options(cls, values: Mapping[str, Any], workers: int) -> CoroutineHandler:
        return cls(values["function"])

    def describe(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"function {getattr(self.function, '__module__', '')}.{name}"

    async def run(self, work: Work) -> Outcome:
        try:
            await self.function(work)
        except asyncio.CancelledError:
            raise  # the slot knows whether it was the one that cancelled
        # A handler that calls sys.exit() fails; it does not end the worker.
        except BaseException as error:
            return outcome_of(error)
        return SUCCESS


def outcome_of(failure: BaseException) -> Outcome:
    """Judge what a function has raised."""
    if isinstance(failure, Retry):
        try:
            # A subclass may have set another one.
            delay = None if failure.delay is None else _seconds(failure.delay)
        except ValueError as error:
            return crash(error)
        return Outcome(Kind.RETRY, delay=delay, error=_cause(failure))
    if isinstance(failure, Reject):
        return Outcome(Kind.REJECT, error=_text(failure.reason))
    return crash(failure)


def _seconds(delay: object) -> float:
    """Read a delay. Raises ValueError."""
    kind = type(delay)
    try:
        if not hasattr(kind, "__float__") and not hasattr(kind, "__index__"):
            # A str is none of these, though float() and int() would read it.
            delay = kind.__int__(delay)  # type: ignore[attr-defined]
        seconds = float(delay)  # type: ignore[arg-type]
    except Exception:  # whatever its own method raises
        seconds = math.nan
    if not 0 <= seconds <= MAX_NUMBER:
        raise ValueError(f"a delay must be from 0 to 2**32 - 1 seconds, not {delay!r}")
    return seconds


def crash(error: BaseException) -> Outcome:
    """An unknown fail, with the exception for the log."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    details = {"exception": type(error).__qualname__, "backtrace": "".join(lines)[-2 * SHOWN :]}
    return Outcome(Kind.UNKNOWN_FAIL, error=_text(error), details=details)


def _cause(error: BaseException) -> str:
    return "" if error.__cause__ is None else _text(error.__cause__)


def _text(said: object) -> str:
    try:
        return str(said)[:SHOWN]
    except BaseException:
        # An object of the user's, whose own __str__ fails.
        return type(said).__qualname__
