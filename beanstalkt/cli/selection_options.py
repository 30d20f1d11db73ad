"""The options that say which jobs a verb is about, and the selection that is made of them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial

from ..admin.record import SETTLED_STATES, STATES, State
from ..admin.selection import Selection, select
from ..errors import InvalidArgument
from ..protocol.arguments import JOB_ID, MAX_JOB_ID, PRIORITY, Number, parse_whole
from .converters import converter, number, seconds, tube

SETTLED = tuple(state for state in STATES if state in SETTLED_STATES)
"""The states of jobs that no worker holds, in the order in which they are shown."""

Range = tuple[int, int | None]
"""The lowest and the highest number; None: without a limit."""


def add_tubes(parser: ArgumentParser) -> None:
    """Add ``TUBE``, of which there may be several: the same as ``--tube``."""
    parser.add_argument(
        "named_tubes", nargs="*", type=tube, metavar="TUBE", help="the jobs of this tube"
    )


def join_tubes(options: Namespace) -> None:
    """Add the tubes that are named as arguments to those that are named by ``--tube``."""
    options.tubes = [*getattr(options, "named_tubes", ()), *options.tubes]
    options.named_tubes = []


def add_to(
    parser: ArgumentParser, *, tubes: bool = True, states: Sequence[State] = STATES
) -> None:
    """Add the options to the parser of a verb.

    :param tubes: whether ``--tube`` is among them; otherwise the verb sets ``options.tubes``
    :param states: the states that may be named
    """
    group = parser.add_argument_group("which jobs (those that all of the options allow)")
    add = group.add_argument
    if tubes:
        add(
            "-u",
            "--tube",
            dest="tubes",
            type=tube,
            action="append",
            default=[],
            metavar="TUBE",
            help="jobs of this tube; may be repeated",
        )
    add(
        "--state",
        dest="states",
        choices=states,
        action="append",
        default=[],
        help="jobs in this state; may be repeated",
    )
    add(
        "--priority",
        dest="priorities",
        type=number_range(PRIORITY),
        metavar="RANGE",
        help="jobs with such a priority: 10, 10-99, 10- or -99",
    )
    add("--older-than", type=seconds, metavar="AGE", help="jobs put longer ago: 90, 5m, 2d")
    add("--younger-than", type=seconds, metavar="AGE", help="jobs put less long ago")
    add("--text", metavar="TEXT", help="jobs whose body contains TEXT")
    add(
        "--regex",
        metavar="PATTERN",
        help="jobs whose body contains a match of PATTERN, a regular expression of Python",
    )
    ids = group.add_mutually_exclusive_group()
    ids.add_argument(
        "--watch-range",
        type=number_range(JOB_ID),
        metavar="RANGE",
        help="look at these ids only: 100-200, 100- or -200",
    )
    ids.add_argument(
        "--since-id", type=number(JOB_ID), metavar="ID", help="look at no id below this one"
    )


def add_limit(parser: ArgumentParser) -> None:
    """Add ``--limit``, the number of jobs after which a verb ends."""
    parser.add_argument(
        "--limit",
        type=number(Number("limit", MAX_JOB_ID)),
        metavar="NUMBER",
        help="end after so many jobs (no limit)",
    )


def given(options: Namespace) -> bool:
    """Return whether any of the options was given, besides the tube."""
    return bool(options.states) or any(
        value is not None
        for value in (
            options.priorities,
            options.older_than,
            options.younger_than,
            options.text,
            options.regex,
            options.watch_range,
            options.since_id,
        )
    )


def check(parser: ArgumentParser, options: Namespace) -> None:
    """Make the selection, in ``options.selection``; refuse options that contradict each other."""
    join_tubes(options)
    low, high = options.priorities or (0, PRIORITY.limit)
    first, last = options.watch_range or (options.since_id or 1, None)
    try:
        options.selection = select(
            options.tubes,
            options.states,
            min_priority=low,
            max_priority=PRIORITY.limit if high is None else high,
            min_age=options.older_than or 0,
            max_age=options.younger_than,
            text=None if options.text is None else os.fsencode(options.text),
            pattern=None if options.regex is None else os.fsencode(options.regex),
            since_id=first,
            until_id=last,
        )
    except InvalidArgument as error:
        parser.error(str(error))


def describe(selection: Selection) -> str:
    """Return the jobs of a selection in words, for a question or a message."""
    states = " or ".join(state for state in STATES if state in selection.states)
    words = [f"{states} jobs" if states else "jobs"]
    if selection.tubes:
        words.append(f"of {', '.join(sorted(selection.tubes))}")
    else:
        words.append("of all tubes")
    if selection.filters or selection.since_id > 1 or selection.until_id is not None:
        words.append("that match")
    return " ".join(words)


def number_range(kind: Number) -> Callable[[str], Range]:
    """Make a converter of ``10``, ``10-99``, ``10-`` or ``-99`` to a range of numbers."""
    return converter(partial(_parse_range, kind))


def _parse_range(kind: Number, text: str) -> Range:
    low, dash, high = text.partition("-")
    if text in ("", "-"):
        raise InvalidArgument(f"{text!r} is not a range: write 10, 10-99, 10- or -99")
    first = kind.check(parse_whole(low)) if low else 0
    if not dash:
        return first, first
    last = kind.check(parse_whole(high)) if high else None
    if last is not None and last < first:
        raise InvalidArgument(f"the range {text} ends before it begins")
    return first, last
