"""Durations as people write them: ``90``, ``1.5``, ``5m`` or ``1h30m``."""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import InvalidArgument

UNITS = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}
"""The seconds of each unit, from the largest to the smallest."""

EXAMPLES = "90, 5m or 1h30m"
"""What a message shows to those who wrote something else."""

_NUMBER = r"(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})"
_SECONDS = re.compile(_NUMBER)
_WITH_UNITS = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in UNITS))


def parse_duration(text: str) -> Fraction:
    """Return the seconds that `text` stands for; raise InvalidArgument if it is no duration.

    A number alone counts seconds. Otherwise each number is followed by its unit (w, d, h, m, s,
    ms), from the largest unit to the smallest, as in ``1h30m``.
    """
    if _SECONDS.fullmatch(text):
        return Fraction(text)
    match = _WITH_UNITS.fullmatch(text)
    if not match or not text:
        raise InvalidArgument(
            f"{text[:50]!r} is not a duration: write a number of seconds, or such as {EXAMPLES}"
        )
    return sum(
        (
            Fraction(number) * seconds
            for number, seconds in zip(match.groups(), UNITS.values(), strict=True)
            if number is not None
        ),
        Fraction(0),
    )


def parse_whole_seconds(text: str) -> int:
    """Return the duration `text` in whole seconds; raise InvalidArgument if it has a fraction."""
    seconds = parse_duration(text)
    if seconds.denominator != 1:
        raise InvalidArgument(f"{text[:50]!r} is not a whole number of seconds")
    return int(seconds)
