"""The statistics and lists that a server sends: their keys, their types and their parser.

The server writes a small subset of YAML: a line ``---``, then lines ``key: value`` or ``- entry``
(section 6.1). The key decides the type of a value, never its looks: a tube may be named ``007``,
``null`` or ``1.5``, and a version is a str too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypedDict

MAX_KEYS = 200
"""The number of keys of the largest dictionary whose order is kept; servers send about 50."""

Value = str | int | float | bool

StatsJob = TypedDict(
    "StatsJob",
    {
        "id": int,
        "tube": str,
        "state": str,
        "pri": int,
        "age": int,
        "delay": int,
        "ttr": int,
        "time-left": int,
        "file": int,
        "reserves": int,
        "timeouts": int,
        "releases": int,
        "buries": int,
        "kicks": int,
    },
)
"""The statistics of a job, with times in seconds (section 6.2)."""

StatsTube = TypedDict(
    "StatsTube",
    {
        "name": str,
        "current-jobs-urgent": int,
        "current-jobs-ready": int,
        "current-jobs-reserved": int,
        "current-jobs-delayed": int,
        "current-jobs-buried": int,
        "total-jobs": int,
        "current-using": int,
        "current-watching": int,
        "current-waiting": int,
        "cmd-delete": int,
        "cmd-pause-tube": int,
        "pause": int,
        "pause-time-left": int,
    },
)
"""The statistics of a tube, with times in seconds (section 6.3)."""

_Always = TypedDict(
    "_Always",
    {
        "current-jobs-urgent": int,
        "current-jobs-ready": int,
        "current-jobs-reserved": int,
        "current-jobs-delayed": int,
        "current-jobs-buried": int,
        "cmd-put": int,
        "cmd-peek": int,
        "cmd-peek-ready": int,
        "cmd-peek-delayed": int,
        "cmd-peek-buried": int,
        "cmd-reserve": int,
        "cmd-reserve-with-timeout": int,
        "cmd-use": int,
        "cmd-watch": int,
        "cmd-ignore": int,
        "cmd-delete": int,
        "cmd-release": int,
        "cmd-bury": int,
        "cmd-kick": int,
        "cmd-touch": int,
        "cmd-stats": int,
        "cmd-stats-job": int,
        "cmd-stats-tube": int,
        "cmd-list-tubes": int,
        "cmd-list-tube-used": int,
        "cmd-list-tubes-watched": int,
        "cmd-pause-tube": int,
        "job-timeouts": int,
        "total-jobs": int,
        "max-job-size": int,
        "current-connections": int,
        "current-producers": int,
        "current-workers": int,
        "current-waiting": int,
        "total-connections": int,
        "rusage-utime": float,
        "rusage-stime": float,
        "binlog-records-written": int,
        "binlog-records-migrated": int,
    },
)

_Sometimes = TypedDict(
    "_Sometimes",
    {
        "current-tubes": int,
        "pid": int,
        "version": str,
        "uptime": int,
        "binlog-oldest-index": int,
        "binlog-current-index": int,
        "binlog-max-size": int,
        "draining": bool,
        "id": str,
        "hostname": str,
        "os": str,
        "platform": str,
    },
    total=False,
)


class Stats(_Always, _Sometimes):
    """The statistics of a server, with times in seconds and sizes in bytes (section 6.4).

    Those of a pool are sums, and lack what means something for one server only, as those of an
    old server lack what only newer ones tell. Look that up with ``get``.
    """


def parse_list(data: bytes) -> list[str]:
    """Return the entries of a list, each as a str; raise ValueError for any other data."""
    lines = _lines(data.decode("utf-8", "replace"))
    if not all(line.startswith("- ") for line in lines):
        raise ValueError("a line of the list does not begin with '- '")
    return [line[2:] for line in lines]


def _lines(text: str) -> list[str]:
    head, _, rest = text.partition("\n")
    if head.rstrip() != "---":
        raise ValueError("the data does not begin with '---'")
    return rest.removesuffix("\n").split("\n") if rest else []


def _string(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _integer(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _boolean(text: str) -> bool:
    return text == "true"


def _unknown(text: str) -> Value:
    """Return the value of a key that only newer servers have: a counter if written as one."""
    try:
        number = int(text)
    except ValueError:
        return _string(text)
    return number if str(number) == text else text


_READERS: dict[type, Callable[[str], Value]] = {
    str: _string,
    int: _integer,
    float: float,
    bool: _boolean,
}


class Layout(NamedTuple):
    """The keys of a dictionary, in order: what matches its text, and what reads each value."""

    keys: list[str]
    pattern: re.Pattern[str]
    readers: list[Callable[[str], Value]]


class Dictionary:
    """Parse the dictionaries of one kind, such as the replies to ``stats-job``.

    A server writes the same keys in the same order each time. So the last layout is kept with a
    regular expression, which takes the next dictionary apart in two thirds of the time.

    :param shape: the TypedDict that gives the types of the values
    """

    def __init__(self, shape: type) -> None:
        self._readers = {key: _READERS[kind] for key, kind in shape.__annotations__.items()}
        self._layout = Layout([], re.compile("---\n"), [])  # threads share it: changed as a whole

    def __call__(self, data: bytes) -> dict[str, Value]:
        """Return what the data says; raise ValueError if it is no dictionary."""
        text = data.decode("utf-8", "replace")
        keys, pattern, readers = self._layout
        match = pattern.fullmatch(text)
        if match is not None:
            return {
                key: read(value)
                for key, read, value in zip(keys, readers, match.groups(), strict=True)
            }
        found: dict[str, Value] = {}
        for line in _lines(text):
            # Only the first colon divides key and value: the server's `os` contains more of them,
            # and a '#' that does not begin a comment.
            key, colon, value = line.partition(": ")
            if not colon:
                raise ValueError(f"the line {line!r} is not 'key: value'")
            found[key] = self._readers.get(key, _unknown)(value)
        if len(found) <= MAX_KEYS and list(found) != keys:
            self._layout = self._layout_of(tuple(found))
        return found

    def _layout_of(self, keys: tuple[str, ...]) -> Layout:
        readers = [self._readers.get(key, _unknown) for key in keys]
        counters = tuple(read is _integer for read in readers)
        pattern = _pattern_of(keys, counters)
        return Layout(
            list(keys), pattern, [int if c else r for c, r in zip(counters, readers, strict=True)]
        )


@lru_cache  # servers of two versions may be asked in turn
def _pattern_of(keys: tuple[str, ...], counters: tuple[bool, ...]) -> re.Pattern[str]:
    """Return what matches a dictionary with these keys, some of which are counters."""
    values = ["-?[0-9]+" if counter else ".*" for counter in counters]
    lines = [f"{re.escape(key)}: ({v})\n" for key, v in zip(keys, values, strict=True)]
    return re.compile("---\n" + "".join(lines))


parse_job = Dictionary(StatsJob)
parse_tube = Dictionary(StatsTube)
parse_server = Dictionary(Stats)
