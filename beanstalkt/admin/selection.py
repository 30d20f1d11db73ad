"""The selection: which jobs an operation is about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from ..errors import InvalidArgument
from ..protocol.arguments import JOB_ID, MAX_JOB_ID, MAX_NUMBER, PRIORITY, TUBE, check_body
from .record import STATES, JobRecord, State


@dataclass(frozen=True)
class Selection:
    """Describe which jobs an operation is about: those that all of its fields allow.

    Make one with :func:`select`, which checks the values.
    """

    #: names of tubes; empty: any tube
    tubes: frozenset[str] = frozenset()
    #: empty: any state
    states: frozenset[State] = frozenset()
    min_priority: int = 0
    max_priority: int = MAX_NUMBER
    #: seconds since the job was put
    min_age: float = 0
    max_age: float = float("inf")
    #: bytes that the body contains
    text: bytes | None = None
    #: a regular expression of which the body contains a match
    pattern: re.Pattern[bytes] | None = None
    #: the lowest id
    since_id: int = 1
    #: the highest id; None: the highest that there is
    until_id: int | None = None

    @property
    def needs_body(self) -> bool:
        """Whether the body decides, so that a record needs one."""
        return self.text is not None or self.pattern is not None

    @property
    def filters(self) -> bool:
        """Whether anything but the tube, the state and the id decides."""
        return self.needs_body or self.filters_changeably or self.min_age > 0

    @property
    def filters_changeably(self) -> bool:
        """Whether something decides that another connection can change, besides the state."""
        return (
            self.min_priority > 0 or self.max_priority < MAX_NUMBER or self.max_age < float("inf")
        )

    def matches(self, record: JobRecord) -> bool:
        """Return whether the job is one of them.

        A record without a body, where the body decides, is not.
        """
        return self.matches_stats(record) and self.matches_body(record.body)

    def matches_stats(self, record: JobRecord) -> bool:
        """Return whether all but the body makes the job one of them."""
        return (
            (not self.tubes or record.tube in self.tubes)
            and (not self.states or record.state in self.states)
            and self.min_priority <= record.priority <= self.max_priority
            and self.min_age <= record.age <= self.max_age
            and self.since_id <= record.id
            and (self.until_id is None or record.id <= self.until_id)
        )

    def matches_body(self, body: bytes | None) -> bool:
        """Return whether the body makes the job one of them.

        A pattern that takes for ever blocks this thread; :class:`Scan` does not wait for it.
        """
        if not self.matches_text(body):
            return False
        return self.pattern is None or (body is not None and bool(self.pattern.search(body)))

    def matches_text(self, body: bytes | None) -> bool:
        """Return whether the body contains the text."""
        return self.text is None or (body is not None and self.text in body)


def select(
    tubes: str | Iterable[str] = (),
    states: State | Iterable[State] = (),
    *,
    min_priority: int = 0,
    max_priority: int = MAX_NUMBER,
    min_age: float = 0,
    max_age: float | None = None,
    text: str | bytes | None = None,
    pattern: str | bytes | re.Pattern[bytes] | None = None,
    since_id: int = 1,
    until_id: int | None = None,
) -> Selection:
    """Return a selection of the jobs that all of the arguments allow.

    :param tubes: the name of a tube, or several names; none: any tube
    :param states: of ``ready``, ``delayed``, ``buried`` and ``reserved``; none: any state
    :param min_age: seconds since the job was put
    :param max_age: seconds since the job was put; None: without a limit
    :param text: what the body contains; a str is sought as UTF-8
    :param pattern: a regular expression of which the body contains a match; a scan has it
        searched for in a child process
    :param since_id: the lowest id
    :param until_id: the highest id; None: the highest that there is

    Raises InvalidArgument.
    """
    names = _set("tubes", tubes)
    for name in names:
        TUBE.check(name)
    chosen = _set("states", states)
    if not chosen <= set(STATES):
        wrong = ", ".join(sorted(map(repr, chosen - set(STATES))))
        raise InvalidArgument(f"a job has no state {wrong}: there are {', '.join(STATES)}")
    selection = Selection(
        names,
        cast("frozenset[State]", chosen),
        PRIORITY.check(min_priority),
        PRIORITY.check(max_priority),
        _seconds("min_age", min_age),
        float("inf") if max_age is None else _seconds("max_age", max_age),
        None if text is None else check_body(text),
        _compiled(pattern),
        max(1, JOB_ID.check(since_id)),
        None if until_id is None else JOB_ID.check(until_id),
    )
    _check_order("priority", selection.min_priority, selection.max_priority)
    _check_order("age", selection.min_age, selection.max_age)
    _check_order("id", selection.since_id, MAX_JOB_ID if until_id is None else until_id)
    return selection


def _set(what: str, given: str | Iterable[str]) -> frozenset[str]:
    try:
        return frozenset([given] if isinstance(given, str) else given)
    except TypeError:
        raise InvalidArgument(
            f"{what} must be a str or an iterable of str, not {type(given).__name__}"
        ) from None


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise InvalidArgument(f"{name} must be a number of seconds, 0 or more, not {value!r}")
    return value


def _compiled(pattern: str | bytes | re.Pattern[bytes] | None) -> re.Pattern[bytes] | None:
    if pattern is None:
        return None
    source = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    if not isinstance(source, (str, bytes)):
        raise InvalidArgument(f"a pattern must be a str or bytes, not {type(source).__name__}")
    if isinstance(pattern, re.Pattern):
        if isinstance(source, str):
            raise InvalidArgument("a compiled pattern must be one of bytes: bodies are bytes")
        return pattern
    try:
        return re.compile(source.encode() if isinstance(source, str) else source)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"{pattern!r:.80} is not a regular expression: {error}") from None


def _check_order(what: str, least: float, most: float) -> None:
    if least > most:
        raise InvalidArgument(f"the lowest {what}, {least}, is above the highest, {most}")
