"""The handler that awaits a coroutine function for each job; what the function may raise."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .handler import Handler, Work
from .outcome import SUCCESS, Kind, Outcome
from .output import SHOWN

Function = Callable[[Work], Awaitable[object]]
"""Returning is success, whatever it returns."""


class Retry(Exception):
    """Raised by a handler: release the job.

    :param delay: seconds before it is ready again; None: as the worker's ``delay`` and
        ``backoff`` say
    """

    def __init__(self, delay: float | None = None) -> None:
        if delay is not None and not 0 <= delay < 2**32:
            raise ValueError(f"a delay must be from 0 to 2**32 - 1 seconds, not {delay!r}")
        super().__init__(delay)
        self.delay = delay


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
        except Retry as retry:
            return Outcome(Kind.RETRY, delay=retry.delay, error=_cause(retry))
        except Reject as reject:
            return Outcome(Kind.REJECT, error=str(reject.reason)[:SHOWN])
        # A handler that calls sys.exit() fails; it does not end the worker.
        except (Exception, SystemExit) as error:
            return crash(error)
        return SUCCESS


def crash(error: BaseException) -> Outcome:
    """An unknown fail, with the exception for the log."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    details = {"exception": type(error).__qualname__, "backtrace": "".join(lines)[-2 * SHOWN :]}
    return Outcome(Kind.UNKNOWN_FAIL, error=_text(error), details=details)


def _cause(error: BaseException) -> str:
    return "" if error.__cause__ is None else _text(error.__cause__)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:SHOWN]
    except Exception:
        # An exception of the user's, whose own __str__ fails.
        return type(error).__qualname__
