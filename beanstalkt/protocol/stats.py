"""The tiny parser for what the stats and list commands send, and the shapes of the replies.

The server writes a small corner of YAML: a line ``---``, then ``key: value`` or ``- entry``
(protocol section 6.1). Values are typed by their key, never by their looks: a tube may be named
``007``, ``null`` or ``1.5``, and a version is a name too.
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
"""One job (protocol section 6.2); times in seconds."""

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
"""One tube (protocol section 6.3); times in seconds."""

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
"""The server (protocol section 6.4); times in seconds, sizes in bytes."""


def parse_list(data: bytes) -> list[str]:
    """The entries of a list, each a str. Raises ValueError on anything else."""
    lines = _lines(data)
    if not all(line.startswith("- ") for line in lines):
        raise ValueError("a list has a line without '- '")
    return [line[2:] for line in lines]


def parse_job(data: bytes) -> dict[str, Value]:
    """What ``stats-job`` says. Raises ValueError if it is no dictionary."""
    return _parse_dict(data, _JOB)


def parse_tube(data: bytes) -> dict[str, Value]:
    """What ``stats-tube`` says. Raises ValueError if it is no dictionary."""
    return _parse_dict(data, _TUBE)


def parse_server(data: bytes) -> dict[str, Value]:
    """What ``stats`` says. Raises ValueError if it is no dictionary."""
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
        # Only the first colon divides: the server's `os` holds colons, and a '#' that begins
        # no comment.
        key, colon, text = line.partition(": ")
        if not colon:
            raise ValueError(f"no 'key: value' in {line!r}")
        read = types.get(key, _unknown)
        # Nearly all are counters: those without a call.
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
    """A key of a newer server: nearly all are counters; what is not written as one is a name."""
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
