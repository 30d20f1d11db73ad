"""Which tubes of a server are looked at: patterns, and a limit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from ..errors import InvalidArgument


@dataclass(frozen=True)
class TubeFilter:
    """Choose tubes by their names.

    The patterns are those of a shell: ``*`` is any text, ``?`` any character, ``[ab]`` one of
    these. A tube is chosen if one of `include` and none of `exclude` matches its whole name.

    :param include: a pattern of the tubes to look at, or several; by default all
    :param exclude: a pattern of tubes to leave out, or several
    :param limit: the number of tubes at most; None: no limit

    Raises InvalidArgument.
    """

    include: str | Iterable[str] = ("*",)
    exclude: str | Iterable[str] = ()
    limit: int | None = None
    _included: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _excluded: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limit = self.limit
        if limit is not None and (
            not isinstance(limit, int) or isinstance(limit, bool) or limit < 0
        ):
            raise InvalidArgument(f"the limit of tubes must be an int, 0 or more, not {limit!r}")
        include, exclude = _patterns(self.include), _patterns(self.exclude)
        for name, value in {
            "include": include,
            "exclude": exclude,
            "_included": None if "*" in include else _compiled(include),
            "_excluded": _compiled(exclude) if exclude else None,
        }.items():
            object.__setattr__(self, name, value)  # the only way in a frozen class

    def matches(self, name: str) -> bool:
        """Return whether the patterns choose this tube, whatever the limit."""
        if self._included is not None and self._included.match(name) is None:
            return False
        return self._excluded is None or self._excluded.match(name) is None

    def choose(self, names: Iterable[str], before: Collection[str] = ()) -> tuple[list[str], int]:
        """Return the tubes to look at, and how many more the patterns chose.

        Where the limit leaves tubes out, those of `before` (a set or a dict) stay: the order in
        which a server lists its tubes changes whenever a tube goes.
        """
        matching = [name for name in names if self.matches(name)]
        if self.limit is None or len(matching) <= self.limit:
            return matching, 0
        matching.sort(key=lambda name: name not in before)  # stable
        return matching[: self.limit], len(matching) - self.limit


def _patterns(value: object) -> tuple[str, ...]:
    """Return one pattern of tube names, or an iterable of several, as a tuple.

    Raises InvalidArgument unless each pattern is a str.
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable):
        raise InvalidArgument(f"patterns of tubes must be str, not {value!r}")
    patterns = tuple(value)
    for each in patterns:
        if not isinstance(each, str):
            raise InvalidArgument(f"a pattern of tubes must be a str, not {each!r}")
    return patterns


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) if patterns else r"(?!)")
