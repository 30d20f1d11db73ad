"""The outcome of a function that raised an exception, and two exceptions made for that."""

from __future__ import annotations

import math
import traceback
from typing import SupportsFloat, SupportsIndex, SupportsInt

from ...protocol.arguments import MAX_NUMBER
from .outcome import Kind, Outcome

MAX_ERROR_LENGTH = 1000
"""Characters of an error that the log shows."""


class Retry(Exception):
    """Release the job: raised by a handler's function.

    :param delay: seconds until the job is ready again, a number of any type that has a float;
        None: as the worker's ``delay`` and ``backoff`` say
    :ivar delay: the same as a float, or None

    Raises ValueError unless the delay is a number from 0 to 2**32 - 1.
    """

    def __init__(self, delay: SupportsFloat | SupportsIndex | SupportsInt | None = None) -> None:
        super().__init__(delay)
        self.delay = None if delay is None else _seconds(delay)


class Reject(Exception):
    """Bury the job, because it can never succeed: raised by a handler's function.

    :param reason: for the log
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def outcome_of(failure: BaseException) -> Outcome:
    """Return the outcome of a function that raised this exception."""
    if isinstance(failure, Retry):
        try:
            # A subclass may have assigned a delay that was never checked.
            delay = None if failure.delay is None else _seconds(failure.delay)
        except ValueError as error:
            return crash(error)
        cause = failure.__cause__
        return Outcome(Kind.RETRY, delay=delay, error="" if cause is None else _text(cause))
    if isinstance(failure, Reject):
        return Outcome(Kind.REJECT, error=_text(failure.reason))
    return crash(failure)


def crash(error: BaseException) -> Outcome:
    """Return an unknown fail that describes this exception for the log."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    backtrace = "".join(lines)[-2 * MAX_ERROR_LENGTH :]
    details = {"exception": type(error).__qualname__, "backtrace": backtrace}
    return Outcome(Kind.UNKNOWN_FAIL, error=_text(error), details=details)


def _seconds(delay: object) -> float:
    """Return a delay as a float. Raises ValueError."""
    kind = type(delay)
    try:
        if not hasattr(kind, "__float__") and not hasattr(kind, "__index__"):
            # A str has none of these methods, though float() and int() would read one.
            delay = kind.__int__(delay)  # type: ignore[attr-defined]
        seconds = float(delay)  # type: ignore[arg-type]
    except Exception:  # whatever the number's own method raises
        seconds = math.nan
    if not 0 <= seconds <= MAX_NUMBER:
        raise ValueError(f"a delay must be from 0 to 2**32 - 1 seconds, not {delay!r}")
    return seconds


def _text(value: object) -> str:
    """Return str(value), shortened; the name of its type if that raises."""
    try:
        return str(value)[:MAX_ERROR_LENGTH]
    except BaseException:
        return type(value).__qualname__
