"""What an answer means for its job. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from ....protocol.arguments import MAX_NUMBER
from ...policy.outcome import Kind, Outcome

SHOWN = 1024
"""Bytes of an answer that go to the log at most, and lines."""
SHOWN_LINES = 2

TEMPORARY = frozenset({429, 503})


@dataclass(frozen=True)
class Answer:
    """An answer, as far as it was read.

    :ivar reason: the words behind the status
    :ivar retry_after: the header, as it came
    :ivar beginning: of the body, enough for the log
    :ivar broken: why its end did not come; empty: it came, or was not waited for because the body
        was too long
    """

    status: int
    reason: str = ""
    retry_after: str | None = None
    beginning: bytes = b""
    broken: str = ""


def judge(
    answer: Answer, successes: frozenset[int], now: datetime, details: Mapping[str, object]
) -> Outcome:
    """The outcome of the attempt that got this answer.

    :param successes: statuses that mean success
    :param now: with a time zone
    :param details: fields for the log, to which those of the answer are added
    """
    fields = {**details, "status": answer.status}
    if shown := first_lines(answer.beginning):
        fields["answer"] = shown
    success = answer.status in successes
    if success and not answer.broken:
        return Outcome(Kind.SUCCESS, details=fields)
    error = f"status {answer.status} {shown_line(answer.reason)}".rstrip()
    if answer.broken:
        error = f"{error}; {answer.broken}"
    # An application that died on the way may have said 200 before: that is no success.
    temporary = success or answer.status in TEMPORARY
    return Outcome(
        Kind.TEMPORARY_FAIL if temporary else Kind.PERMANENT_FAIL,
        delay=None if answer.retry_after is None else delay_of(answer.retry_after, now),
        error=error,
        details=fields,
    )


def delay_of(text: str, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date; None: it cannot be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 10 else float(MAX_NUMBER)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:  # "-0000": in UTC, and no word about where
            when = when.replace(tzinfo=timezone.utc)
        return float(max(math.ceil((when - now).total_seconds()), 0))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def first_lines(data: bytes) -> str:
    """The first lines of an answer's body, fit for a log."""
    lines = data[: 4 * SHOWN].decode("utf-8", "replace").strip().splitlines()
    shown = "\n".join(shown_line(line.strip()) for line in lines[:SHOWN_LINES])
    return shown.encode()[:SHOWN].decode("utf-8", "ignore")


def shown_line(text: str) -> str:
    """With what steers a terminal, or turns letters around, written as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[:SHOWN]
    )
