"""Values as they are written in the configuration: from text, or ValueError."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from ...protocol.arguments import MAX_NUMBER, TUBE
from ..policy.decision import Action, Verb

_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})


def boolean(text: str) -> bool:
    """``yes`` or ``no``, or what else is usual."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("yes or no is expected")


def whole(least: int, most: int = MAX_NUMBER) -> Callable[[str], int]:
    """Makes a reader of whole numbers within these limits."""

    def read(text: str) -> int:
        # int() alone would also take 1_000, and digits of other scripts.
        if text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"a whole number from {least} to {most} is expected")

    return read


def seconds(text: str) -> float:
    """A duration, which may have a fraction."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_NUMBER:
        raise ValueError("a number of seconds is expected")
    return value


def duration(text: str) -> float:
    """A duration of more than nothing."""
    value = seconds(text)
    if not value:
        raise ValueError("more than 0 seconds are expected")
    return value


_T = TypeVar("_T")


def one_of(values: dict[str, _T]) -> Callable[[str], _T]:
    """Makes a reader of one of these words."""

    def read(text: str) -> _T:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)} is expected")
        return values[text]

    return read


def action(text: str) -> Action:
    """``bury``, ``delete``, ``release`` or ``release:SECONDS``."""
    verb, colon, delay = text.partition(":")
    try:
        if not colon:
            return Action(Verb(verb))
        if Verb(verb) is Verb.RELEASE:
            return Action(Verb.RELEASE, whole(0)(delay))
    except ValueError:
        pass
    raise ValueError("bury, delete, release or release:SECONDS is expected")


def exit_code(text: str) -> int:
    """An exit status that is no success."""
    try:
        return whole(1, 255)(text)
    except ValueError:
        raise ValueError("an exit status from 1 to 255 is expected") from None


def exit_action(text: str) -> tuple[int, Action]:
    """``CODE=ACTION``, such as ``75=release:300``."""
    code, equals, what = text.partition("=")
    if not equals:
        raise ValueError("CODE=ACTION is expected, such as 75=release:300")
    return exit_code(code.strip()), action(what.strip())


def exit_actions(text: str) -> tuple[tuple[int, Action], ...]:
    """Several of them, with spaces between."""
    return tuple(exit_action(word) for word in text.split())


def tube_name(text: str) -> str:
    """The name of a tube (protocol section 1.3)."""
    TUBE.check(text)
    return text


def tube_and_workers(text: str) -> tuple[str, int | None]:
    """``NAME`` or ``NAME:WORKERS``. (No tube's name holds a colon.)"""
    name, colon, count = text.partition(":")
    return tube_name(name), workers(count) if colon else None


workers = whole(1, 10_000)
