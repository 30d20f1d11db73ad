"""The commands: one row for each, which says what goes out and what may come back.

Everything that sends or serves a command looks it up here (sections 3 to 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from . import results, stats
from .arguments import (
    BOUND,
    DELAY,
    JOB_ID,
    MAX_NUMBER,
    PRIORITY,
    SIZE,
    TIMEOUT,
    TTR,
    TUBE,
    Number,
    TubeName,
    check_body,
)
from .parser import WITH_DATA

MAX_COMMAND_LINE = 224
"""The length of the longest command line that a server reads, in bytes, with CR LF (1.2)."""

QUIT = b"quit\r\n"
"""The one command without a reply: the server closes the connection (section 7)."""


@dataclass(frozen=True, eq=False)
class Command:
    """Describe a command: its line, the reply that means success, and its refusals."""

    #: the first word of the line
    verb: str
    #: the arguments of the line, in order
    arguments: tuple[Number | TubeName, ...]
    #: the status of the reply that means success
    success: bytes
    #: makes the result of that reply's words and data; raises ValueError if they do not fit
    read: Callable[[list[bytes], bytes], Any] = results.nothing
    #: the statuses that refuse this command, besides those that can refuse any (section 1.6)
    refusals: frozenset[bytes] = frozenset()
    #: the statuses after which the server takes what was sent for something else (section 8.2)
    fatal: frozenset[bytes] = frozenset()

    #: the line, with a conversion such as ``%d`` for each argument
    form: bytes = field(init=False)
    #: whether the reply that means success has data
    with_data: bool = field(init=False)
    #: returns the line with its arguments; raises InvalidArgument for a bad one
    encode: Callable[..., bytes] = field(init=False, repr=False)
    #: the whole reply that means success, if it is a status alone; None for other commands
    acknowledgement: bytes | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "with_data", self.success in WITH_DATA)
        alone = self.read is results.nothing
        object.__setattr__(self, "acknowledgement", self.success + b"\r\n" if alone else None)
        places = [b"%d" if isinstance(each, Number) else b"%b" for each in self.arguments]
        line = b" ".join([self.verb.encode(), *places]) + b"\r\n"
        object.__setattr__(self, "form", line)
        object.__setattr__(self, "encode", _encoder(line, self.arguments))


def _encoder(form: bytes, arguments: tuple[Number | TubeName, ...]) -> Callable[..., bytes]:
    """Return what makes the line of a command: one call for the commonest, those of a job's id."""
    if not arguments:
        return lambda: form
    if len(arguments) != 1:
        return lambda *values: (
            form
            % tuple(
                [argument.check(value) for argument, value in zip(arguments, values, strict=True)]
            )
        )
    argument = arguments[0]
    limit = argument.limit if isinstance(argument, Number) else -1

    def encode(value: object) -> bytes:
        if type(value) is int and 0 <= value <= limit:
            return form % value
        return form % argument.check(value)

    return encode


_MISSING = frozenset({b"NOT_FOUND"})
_NO_JOB = frozenset({b"TIMED_OUT", b"DEADLINE_SOON"})

PUT = Command(
    "put",
    (PRIORITY, DELAY, TTR, SIZE),
    b"INSERTED",
    results.number,
    frozenset({b"BURIED", b"EXPECTED_CRLF", b"JOB_TOO_BIG", b"DRAINING"}),
    # The server did not read the body as a body, or not to its end: the rest runs as commands.
    fatal=frozenset({b"BAD_FORMAT", b"UNKNOWN_COMMAND", b"EXPECTED_CRLF"}),
)
USE = Command("use", (TUBE,), b"USING", results.name)
RESERVE = Command("reserve", (), b"RESERVED", results.job, _NO_JOB)
RESERVE_WITH_TIMEOUT = Command(
    "reserve-with-timeout", (TIMEOUT,), b"RESERVED", results.job, _NO_JOB
)
RESERVE_JOB = Command("reserve-job", (JOB_ID,), b"RESERVED", results.job, _MISSING)
DELETE = Command("delete", (JOB_ID,), b"DELETED", refusals=_MISSING)
RELEASE = Command(
    "release", (JOB_ID, PRIORITY, DELAY), b"RELEASED", refusals=_MISSING | {b"BURIED"}
)
BURY = Command("bury", (JOB_ID, PRIORITY), b"BURIED", refusals=_MISSING)
TOUCH = Command("touch", (JOB_ID,), b"TOUCHED", refusals=_MISSING)
WATCH = Command("watch", (TUBE,), b"WATCHING", results.number)
IGNORE = Command("ignore", (TUBE,), b"WATCHING", results.number, frozenset({b"NOT_IGNORED"}))
PEEK = Command("peek", (JOB_ID,), b"FOUND", results.job, _MISSING)
PEEK_READY = Command("peek-ready", (), b"FOUND", results.job, _MISSING)
PEEK_DELAYED = Command("peek-delayed", (), b"FOUND", results.job, _MISSING)
PEEK_BURIED = Command("peek-buried", (), b"FOUND", results.job, _MISSING)
KICK = Command("kick", (BOUND,), b"KICKED", results.number)
KICK_JOB = Command("kick-job", (JOB_ID,), b"KICKED", refusals=_MISSING)
STATS_JOB = Command("stats-job", (JOB_ID,), b"OK", results.parsed(stats.parse_job), _MISSING)
STATS_TUBE = Command("stats-tube", (TUBE,), b"OK", results.parsed(stats.parse_tube), _MISSING)
STATS = Command("stats", (), b"OK", results.parsed(stats.parse_server))
LIST_TUBES = Command("list-tubes", (), b"OK", results.parsed(stats.parse_list))
LIST_TUBE_USED = Command("list-tube-used", (), b"USING", results.name)
LIST_TUBES_WATCHED = Command("list-tubes-watched", (), b"OK", results.parsed(stats.parse_list))
PAUSE_TUBE = Command("pause-tube", (TUBE, DELAY), b"PAUSED", refusals=_MISSING)

COMMANDS = {row.verb: row for row in globals().copy().values() if isinstance(row, Command)}
"""Every command with a reply, by its verb."""


def put_form(priority: int, delay: int, ttr: int) -> bytes:
    """Return the form of the puts that have these numbers; raise InvalidArgument for a bad one.

    ``form % (len(body), body)`` is then the whole put, for a body of :func:`check_body`.
    """
    line = PUT.encode(priority, delay, ttr, 0)
    return line.removesuffix(b"0\r\n") + b"%d\r\n%b\r\n"


# Most puts of a program have the same few numbers, and nearly all the very numbers of the last.
_cached_put_form = lru_cache(typed=True)(put_form)
_last_put: tuple[object, object, object, bytes] = (None, None, None, b"")  # with its form


def encode_put(priority: int, delay: int, ttr: int, body: object) -> bytes:
    """Return a whole put, command line and body; raise InvalidArgument for a bad argument."""
    global _last_put
    if type(body) is not bytes:
        body = check_body(body)
    size = len(body)
    if size > MAX_NUMBER:
        SIZE.check(size)
    last_priority, last_delay, last_ttr, form = _last_put
    # The same objects, since True or 1.0 is equal to a good number and is refused all the same.
    if priority is not last_priority or delay is not last_delay or ttr is not last_ttr:
        try:
            form = _cached_put_form(priority, delay, ttr)
        except TypeError:  # one is not hashable, and so is no number
            form = put_form(priority, delay, ttr)
        _last_put = priority, delay, ttr, form
    return form % (size, body)
