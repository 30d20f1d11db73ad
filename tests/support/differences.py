"""What is known to differ between beanstalkd's versions, and replies made fit to be compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from beanstalkt.protocol.parser import Parser


@dataclass(frozen=True)
class Difference:
    """A row: where a version of beanstalkd is known to answer otherwise than our server."""

    name: str
    #: of beanstalkd, as its stats say it; a prefix
    versions: tuple[str, ...]
    #: input that is left out of the random sequences, because the servers part over it
    lines: re.Pattern[bytes] | None = None
    #: makes our stats what those versions say
    stats: Callable[[bytes, bytes], bytes] | None = None


def _unquoted(key: bytes, value: bytes) -> bytes:
    quoted = (b"name", b"tube", b"hostname", b"os", b"platform")
    return value.strip(b'"') if key in quoted else value


EVERY = ("",)

DIFFERENCES = (
    Difference(
        "1.12 quotes no name in stats, besides the version",
        ("1.12", "1.11", "1.10"),
        stats=_unquoted,
    ),
    Difference(
        "1.12 takes whatever C's strtol takes for a timeout, -1 for ever included",
        ("1.12", "1.11", "1.10"),
        # Good ones begin with a number up to 2^31-1, whatever follows it.
        lines=re.compile(rb"reserve-with-timeout (?! *[0-9]{1,9}(?![0-9]))", re.DOTALL),
    ),
)


def known(version: str) -> tuple[Difference, ...]:
    """The rows for a version."""
    return tuple(row for row in DIFFERENCES if version.startswith(row.versions))


PROCESS = {
    # of time
    b"age",
    b"time-left",
    b"pause-time-left",
    b"uptime",
    b"rusage-utime",
    b"rusage-stime",
    # of the process
    b"pid",
    b"version",
    b"id",
}


def replies(stream: bytes, rows: tuple[Difference, ...] = ()) -> list[bytes]:
    """The replies in a stream, those of stats without the keys of time and process.

    :param rows: the differences that our replies are to be cleared of
    """
    parser = Parser()
    return [
        b" ".join(words[:1]) + b"\n" + _stats(data, rows)
        if words[0] == b"OK"
        else b" ".join(words) + b"\n" + data
        for words, data in parser.feed(stream)
    ]


def _stats(data: bytes, rows: tuple[Difference, ...]) -> bytes:
    lines = []
    # `id` is the server's in stats, but the job's in stats-job.
    is_job = data.startswith(b"---\nid: ")
    for line in data.split(b"\n"):
        key, colon, value = line.partition(b": ")
        if not colon or (key == b"id" and is_job):
            lines.append(line)
        elif key in PROCESS:
            lines.append(key)
        else:
            for row in rows:
                if row.stats:
                    value = row.stats(key, value)
            lines.append(key + b": " + value)
    return b"\n".join(lines)
