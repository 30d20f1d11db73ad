"""Values of the configuration: read from their text, or checked as a Python program gives them.

Every function raises ValueError with a message that says what is expected.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TypeVar

from ...protocol.address import parse_host_and_port
from ...protocol.arguments import MAX_NUMBER, TUBE
from ...protocol.durations import EXAMPLES, parse_duration, parse_whole_seconds
from ..policy.decision import Action, Verb

_T = TypeVar("_T")

_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})

MAX_WORKERS = 10_000
"""The largest number of jobs of a tube that run at the same time."""


# --- read from text --------------------------------------------------------------------------


def boolean(text: str) -> bool:
    """Read ``yes`` or ``no``, or one of their usual synonyms."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("yes or no is expected")


def whole(least: int, most: int = MAX_NUMBER) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        # int() alone would also take 1_000, and digits of other scripts.
        plain = text.isascii() and text.isdigit() and len(text) <= 20
        return check_whole(int(text) if plain else None, least, most)

    return read


def seconds(text: str) -> float:
    """Read a duration such as ``1.5`` or ``1h30m``, which may have a fraction; return seconds."""
    try:
        value = float(parse_duration(text))
    except ValueError:
        value = math.nan
    return check_seconds(value)


def whole_seconds(text: str) -> int:
    """Read a duration such as ``90`` or ``1h30m``, which must be a whole number of seconds."""
    try:
        return check_whole(parse_whole_seconds(text), 0)
    except ValueError:
        raise ValueError(f"a whole number of seconds is expected, such as {EXAMPLES}") from None


def host_and_port(text: str) -> tuple[str, int]:
    """Read an address to listen on, such as ``127.0.0.1:9115``."""
    return parse_host_and_port(text)


def duration(text: str) -> float:
    """Read a duration of more than 0 seconds."""
    return check_duration(seconds(text))


def one_of(values: dict[str, _T]) -> Callable[[str], _T]:
    """Return a reader of the keys of `values`, which returns what belongs to the key."""

    def read(text: str) -> _T:
        if not isinstance(text, str) or text not in values:
            raise ValueError(f"one of {', '.join(values)} is expected")
        return values[text]

    return read


def action(text: str) -> Action:
    """Read ``bury``, ``delete``, ``release`` or ``release:SECONDS``."""
    verb, colon, delay = text.partition(":")
    try:
        if not colon:
            return Action(Verb(verb))
        if Verb(verb) is Verb.RELEASE:
            return Action(Verb.RELEASE, whole_seconds(delay))
    except ValueError:
        pass
    raise ValueError("bury, delete, release or release:SECONDS is expected")


def exit_code(text: str) -> int:
    """Read an exit status that is no success."""
    try:
        return whole(1, 255)(text)
    except ValueError:
        raise ValueError("an exit status from 1 to 255 is expected") from None


def exit_action(text: str) -> tuple[int, Action]:
    """Read ``CODE=ACTION``, such as ``75=release:300``."""
    code, equals, verb = text.partition("=")
    if not equals:
        raise ValueError("CODE=ACTION is expected, such as 75=release:300")
    return exit_code(code.strip()), action(verb.strip())


def exit_actions(text: str) -> tuple[tuple[int, Action], ...]:
    """Read several ``CODE=ACTION`` with spaces between them."""
    return tuple(exit_action(word) for word in text.split())


def tube_name(text: str) -> str:
    """Read the name of a tube (protocol section 1.3)."""
    TUBE.check(text)
    return text


def tube_and_workers(text: str) -> tuple[str, int | None]:
    """Read ``NAME`` or ``NAME:WORKERS``. No tube's name holds a colon."""
    name, colon, count = text.partition(":")
    return tube_name(name), workers(count) if colon else None


workers = whole(1, MAX_WORKERS)
"""Read how many jobs of a tube run at the same time."""

backoff = one_of({"fixed": False, "exponential": True})
"""Read how delays grow; return whether they double with each attempt."""


# --- given by a program ----------------------------------------------------------------------


def check_whole(value: object, least: int, most: int = MAX_NUMBER) -> int:
    """Return a whole number from `least` to `most`, of any type of integers but bool."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"a whole number from {least} to {most} is expected")
    return number


def check_seconds(value: object) -> float:
    """Return a number of seconds, of any type of real numbers but bool, as a float."""
    try:
        # A str is no number, though float() would read one.
        wrong = isinstance(value, bool | str | bytes | bytearray)
        number = math.nan if wrong else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError(f"a number of seconds is expected, such as {EXAMPLES}")
    return number


def check_duration(value: object) -> float:
    """Return a number of seconds that is more than 0, as :func:`check_seconds` does."""
    number = check_seconds(value)
    if not number:
        raise ValueError("more than 0 seconds are expected")
    return number


def check_action(value: object) -> Action:
    """Return an action that was given as such or as text, such as ``"release:300"``."""
    return value if isinstance(value, Action) else action(str(value))
