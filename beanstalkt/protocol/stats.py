"""The statistics and lists that a server sends: their keys, their types and their parser.

The server writes a small subset of YAML: a line ``---``, then lines ``key: value`` or ``- entry``
(section 6.1). The key decides the type of a value, never its looks: a tube may be named ``007``,
``null`` or ``1.5``, and a version is a str too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

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
    total=False,
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
    total=False,
)
"""The statistics of a tube, with times in seconds (section 6.3)."""

Stats = TypedDict(
    "Stats",
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
        "current-tubes": int,
        "current-connections": int,
        "current-producers": int,
        "current-workers": int,
        "current-waiting": int,
        "total-connections": int,
        "pid": int,
        "version": str,
        "rusage-utime": float,
        "rusage-stime": float,
        "uptime": int,
        "binlog-oldest-index": int,
        "binlog-current-index": int,
        "binlog-max-size": int,
        "binlog-records-written": int,
        "binlog-records-migrated": int,
        "draining": bool,
        "id": str,
        "hostname": str,
        "os": str,
        "platform": str,
    },
    total=False,
)
"""The statistics of a server, with times in seconds and sizes in bytes (section 6.4)."""


def parse_list(data: bytes) -> list[str]:
    """Return the entries of a list, each as a str; raise ValueError for any other data."""
    lines = _lines(data)
    if not all(line.startswith("- ") for line in lines):
        raise ValueError("a line of the list does not begin with '- '")
    return [line[2:] for line in lines]


def parse_job(data: bytes) -> dict[str, Value]:
    """Return the statistics of a job; raise ValueError if the data is no dictionary."""
    return _parse_dict(data, _JOB)


def parse_tube(data: bytes) -> dict[str, Value]:
    """Return the statistics of a tube; raise ValueError if the data is no dictionary."""
    return _parse_dict(data, _TUBE)


def parse_server(data: bytes) -> dict[str, Value]:
    """Return the statistics of a server; raise ValueError if the data is no dictionary."""
    return _parse_dict(data, _SERVER)


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "replace")
    head, _, rest = text.partition("\n")
    if head.rstrip() != "---":
        raise ValueError("the data does not begin with '---'")
    return rest.removesuffix("\n").split("\n") if rest else []


def _parse_dict(data: bytes, types: dict[str, Callable[[str], Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for line in _lines(data):
        # Only the first colon divides key and value: the server's `os` contains more of them,
        # and a '#' that does not begin a comment.
        key, colon, text = line.partition(": ")
        if not colon:
            raise ValueError(f"the line {line!r} is not 'key: value'")
        read = types.get(key, _unknown)
        # Nearly all values are counters: these are read here, without a call.
        found[key] = int(text) if read is _integer and text.isdecimal() else read(text)
    return found


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


def _readers(shape: type) -> dict[str, Callable[[str], Value]]:
    return {key: _READERS[kind] for key, kind in shape.__annotations__.items()}


_JOB = _readers(StatsJob)
_TUBE = _readers(StatsTube)
_SERVER = _readers(Stats)
