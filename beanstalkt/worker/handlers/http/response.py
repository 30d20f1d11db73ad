"""A response, and the outcome that it means for its job. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from ....protocol.arguments import MAX_NUMBER
from ...policy.outcome import Kind, Outcome

MAX_SHOWN = 1024
"""Bytes of a response that the log shows at most."""

MAX_SHOWN_LINES = 2
"""Lines of a response that the log shows at most."""

TEMPORARY = frozenset({429, 503})
"""Statuses of a temporary fail."""


@dataclass(frozen=True)
class HTTPResponse:
    """A response, as far as it was read.

    :ivar reason: the words after the status
    :ivar retry_after: the header Retry-After as it was sent
    :ivar beginning: the first bytes of the body, enough for the log
    :ivar broken: why the end of the body did not come; empty if it came, or if the rest of the
        body was not read because it is too long
    """

    status: int
    reason: str = ""
    retry_after: str | None = None
    beginning: bytes = b""
    broken: str = ""


def outcome_of_response(
    response: HTTPResponse, successes: frozenset[int], now: datetime, details: Mapping[str, object]
) -> Outcome:
    """Return the outcome of a request that got this response.

    :param successes: statuses that mean success
    :param now: with a time zone
    :param details: fields for the log, to which those of the response are added
    """
    fields = {**details, "status": response.status}
    if shown := first_lines(response.beginning):
        fields["answer"] = shown
    success = response.status in successes
    if success and not response.broken:
        return Outcome(Kind.SUCCESS, details=fields)
    error = f"status {response.status} {shown_line(response.reason)}".rstrip()
    if response.broken:
        error = f"{error}; {response.broken}"
    # An application that crashed half-way may have sent status 200 before: no success.
    temporary = success or response.status in TEMPORARY
    return Outcome(
        Kind.TEMPORARY_FAIL if temporary else Kind.PERMANENT_FAIL,
        delay=None if response.retry_after is None else delay_of(response.retry_after, now),
        error=error,
        details=fields,
    )


def delay_of(text: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After asks for, as a number or as a date.

    Returns None if it cannot be read.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 10 else float(MAX_NUMBER)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:  # "-0000" means UTC, at an unknown place
            when = when.replace(tzinfo=timezone.utc)
        return float(max(math.ceil((when - now).total_seconds()), 0))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def first_lines(data: bytes) -> str:
    """Return the first lines of a body in a form that is safe in a log."""
    lines = data[: 4 * MAX_SHOWN].decode("utf-8", "replace").strip().splitlines()
    shown = "\n".join(shown_line(line.strip()) for line in lines[:MAX_SHOWN_LINES])
    return shown.encode()[:MAX_SHOWN].decode("utf-8", "ignore")


def shown_line(text: str) -> str:
    """Return a line with escapes for characters that control a terminal or reverse text."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[:MAX_SHOWN]
    )
