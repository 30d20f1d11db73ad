"""The protocol without I/O: the table of commands, and the parser of replies.

The section numbers are those of ``doc/protocol.txt``. Everything here is a function of bytes
and plain values; whoever owns a socket carries the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .. import errors
from . import stats

DEFAULT_PRIORITY = 2**31
DEFAULT_TTR = 120
DEFAULT_TUBE = "default"

MAX_NUMBER = 2**32 - 1
"""Priorities, delays, times to run and sizes (section 1.4)."""

MAX_JOB_ID = 2**64 - 1

MAX_TIMEOUT = 2**31 - 1
"""Seconds; from here on 1.12 waits for ever, and 1.13 says BAD_FORMAT (section 4.1)."""

MAX_COMMAND_LINE = 224
"""Bytes, with the CR LF (section 1.2)."""

MAX_REPLY_LINE = 1024
"""Bytes. No line of a server is half as long; what is longer is no beanstalkd."""

MAX_REPLY_BODY = 2**30 + 2**20
"""Bytes. No server takes a job of more than 1 GiB."""

MIN_PUT_REPLY = len(b"DRAINING\r\n")
"""Bytes. No reply to a put is shorter."""

TUBE_NAME = re.compile(r"[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,199}")
"""A whole tube name must match (section 1.3)."""


# --- arguments ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """An argument that is a whole number, from 0 to `limit`."""

    name: str
    limit: int

    def check(self, value: object) -> int:
        """The value as it goes on the line. Raises InvalidArgument."""
        if type(value) is int and 0 <= value <= self.limit:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            # bool is an int to Python, and `True` for a priority is a mistake.
            raise errors.InvalidArgument(f"{self.name} must be an int, not {type(value).__name__}")
        if not 0 <= value <= self.limit:
            raise errors.InvalidArgument(f"{self.name} must be from 0 to {self.limit}")
        return value


@dataclass(frozen=True)
class TubeName:
    """An argument that is the name of a tube."""

    name: str = "tube"

    def check(self, value: object) -> bytes:
        """The value as it goes on the line. Raises InvalidArgument."""
        if not isinstance(value, str):
            raise errors.InvalidArgument(f"a tube name must be a str, not {type(value).__name__}")
        if not TUBE_NAME.fullmatch(value):
            raise errors.InvalidArgument(
                f"bad tube name {value[:210]!r}: 1 to 200 of the letters A-Z a-z 0-9 "
                "- + / ; . $ _ ( ), not beginning with '-'"
            )
        return value.encode("ascii")


JOB_ID = Number("job id", MAX_JOB_ID)
PRIORITY = Number("priority", MAX_NUMBER)
DELAY = Number("delay", MAX_NUMBER)
TTR = Number("ttr", MAX_NUMBER)
SIZE = Number("size of the body", MAX_NUMBER)
TIMEOUT = Number("timeout", MAX_TIMEOUT)
BOUND = Number("bound", MAX_NUMBER)
TUBE = TubeName()


def check_body(value: object) -> bytes:
    """A job's body as bytes: bytes-like as it is, a str as UTF-8. Raises InvalidArgument."""
    if type(value) is bytes and len(value) <= MAX_NUMBER:
        return value
    if isinstance(value, bytes):
        body = value
    elif isinstance(value, str):
        try:
            body = value.encode()
        except UnicodeEncodeError as error:
            raise errors.InvalidArgument(f"the body cannot be sent as UTF-8: {error}") from None
    else:
        try:
            # A copy: the caller may change a bytearray while the command still waits here.
            body = bytes(memoryview(value))  # type: ignore[arg-type]
        except TypeError:
            raise errors.InvalidArgument(
                f"a body must be bytes-like or a str, not {type(value).__name__}"
            ) from None
    SIZE.check(len(body))
    return body


# --- replies --------------------------------------------------------------------------------

Reply = tuple[list[bytes], bytes]
"""The words of a reply's line, and the data behind it (empty where there is none)."""

WITH_DATA = frozenset({b"RESERVED", b"FOUND", b"OK"})
"""The replies whose last word is the size of the data that follows."""


def _nothing(words: list[bytes], data: bytes) -> None:
    if len(words) != 1:
        raise ValueError("more words than expected")


def _number(words: list[bytes], data: bytes) -> int:
    _, number = words
    if not number.isdigit():
        raise ValueError("not a number")
    return int(number)


def _name(words: list[bytes], data: bytes) -> str:
    _, name = words
    return name.decode("ascii")


def _job(words: list[bytes], data: bytes) -> tuple[int, bytes]:
    _, job_id, _ = words
    if not job_id.isdigit():
        raise ValueError("not a number")
    return int(job_id), data


def _data(parse: Callable[[bytes], Any]) -> Callable[[list[bytes], bytes], Any]:
    def read(words: list[bytes], data: bytes) -> Any:
        if len(words) != 2:
            raise ValueError("not one number")
        return parse(data)

    return read


# --- the table ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Command:
    """A row of the table: what goes out, what may come back, and what that means."""

    verb: str
    #: the line's arguments, in order
    arguments: tuple[Number | TubeName, ...]
    #: the status of the reply that means done
    success: bytes
    #: makes the result of the words and data of that reply; ValueError if they do not fit
    read: Callable[[list[bytes], bytes], Any] = _nothing
    #: the statuses that refuse, besides those of section 1.6
    refusals: frozenset[bytes] = frozenset()
    #: statuses behind which the server no longer reads what we mean (section 8.2)
    fatal: frozenset[bytes] = frozenset()

    #: the line, with a place for each argument
    form: bytes = field(init=False)

    def __post_init__(self) -> None:
        places = [b"%d" if isinstance(each, Number) else b"%b" for each in self.arguments]
        line = b" ".join([self.verb.encode(), *places]) + b"\r\n"
        object.__setattr__(self, "form", line)

    def encode(self, *values: object) -> bytes:
        """The command line. Raises InvalidArgument; every number and name is checked."""
        arguments = self.arguments
        if len(arguments) == len(values) == 1:
            return self.form % arguments[0].check(values[0])
        return self.form % tuple(
            [argument.check(value) for argument, value in zip(arguments, values, strict=True)]
        )


_MISSING = frozenset({b"NOT_FOUND"})
_NO_JOB = frozenset({b"TIMED_OUT", b"DEADLINE_SOON"})

PUT = Command(
    "put",
    (PRIORITY, DELAY, TTR, SIZE),
    b"INSERTED",
    _number,
    frozenset({b"BURIED", b"EXPECTED_CRLF", b"JOB_TOO_BIG", b"DRAINING"}),
    # The body was not taken for a body, or not to its end: what follows runs as commands.
    fatal=frozenset({b"BAD_FORMAT", b"UNKNOWN_COMMAND", b"EXPECTED_CRLF"}),
)
USE = Command("use", (TUBE,), b"USING", _name)
RESERVE = Command("reserve", (), b"RESERVED", _job, _NO_JOB)
RESERVE_WITH_TIMEOUT = Command("reserve-with-timeout", (TIMEOUT,), b"RESERVED", _job, _NO_JOB)
RESERVE_JOB = Command("reserve-job", (JOB_ID,), b"RESERVED", _job, _MISSING)
DELETE = Command("delete", (JOB_ID,), b"DELETED", _nothing, _MISSING)
RELEASE = Command(
    "release", (JOB_ID, PRIORITY, DELAY), b"RELEASED", _nothing, _MISSING | {b"BURIED"}
)
BURY = Command("bury", (JOB_ID, PRIORITY), b"BURIED", _nothing, _MISSING)
TOUCH = Command("touch", (JOB_ID,), b"TOUCHED", _nothing, _MISSING)
WATCH = Command("watch", (TUBE,), b"WATCHING", _number)
IGNORE = Command("ignore", (TUBE,), b"WATCHING", _number, frozenset({b"NOT_IGNORED"}))
PEEK = Command("peek", (JOB_ID,), b"FOUND", _job, _MISSING)
PEEK_READY = Command("peek-ready", (), b"FOUND", _job, _MISSING)
PEEK_DELAYED = Command("peek-delayed", (), b"FOUND", _job, _MISSING)
PEEK_BURIED = Command("peek-buried", (), b"FOUND", _job, _MISSING)
KICK = Command("kick", (BOUND,), b"KICKED", _number)
KICK_JOB = Command("kick-job", (JOB_ID,), b"KICKED", _nothing, _MISSING)
STATS_JOB = Command("stats-job", (JOB_ID,), b"OK", _data(stats.parse_job), _MISSING)
STATS_TUBE = Command("stats-tube", (TUBE,), b"OK", _data(stats.parse_tube), _MISSING)
STATS = Command("stats", (), b"OK", _data(stats.parse_server))
LIST_TUBES = Command("list-tubes", (), b"OK", _data(stats.parse_list))
LIST_TUBE_USED = Command("list-tube-used", (), b"USING", _name)
LIST_TUBES_WATCHED = Command("list-tubes-watched", (), b"OK", _data(stats.parse_list))
PAUSE_TUBE = Command("pause-tube", (TUBE, DELAY), b"PAUSED", _nothing, _MISSING)

COMMANDS = {row.verb: row for row in globals().copy().values() if isinstance(row, Command)}
"""Every command with a reply, by its verb; ``quit`` has none."""

QUIT = b"quit\r\n"


def encode_put(priority: int, delay: int, ttr: int, body: object) -> bytes:
    """A put, line and body. Raises InvalidArgument."""
    body = check_body(body)
    size = len(body)
    # The one command whose arguments are checked by hand: it is sent more often than all others.
    if not (
        type(priority) is type(delay) is type(ttr) is int
        and 0 <= priority <= MAX_NUMBER
        and 0 <= delay <= MAX_NUMBER
        and 0 <= ttr <= MAX_NUMBER
    ):
        line = PUT.encode(priority, delay, ttr, size)
        return b"%b%b\r\n" % (line, body)
    return b"put %d %d %d %d\r\n%b\r\n" % (priority, delay, ttr, size, body)


# --- what a reply means ---------------------------------------------------------------------

_EVERYWHERE = frozenset({b"OUT_OF_MEMORY", b"INTERNAL_ERROR", b"BAD_FORMAT", b"UNKNOWN_COMMAND"})

_ERRORS: dict[bytes, tuple[type[errors.BeanstalkException], str]] = {
    b"NOT_FOUND": (
        errors.NotFound,
        "it does not exist, or is not in the state or the hands that this needs",
    ),
    b"NOT_IGNORED": (errors.NotIgnored, "watch another tube before the last one is ignored"),
    b"JOB_TOO_BIG": (
        errors.JobTooBig,
        "the body is larger than the server's max-job-size (beanstalkd -z)",
    ),
    b"DRAINING": (errors.Draining, "the server takes no new jobs: put to another, or later"),
    b"OUT_OF_MEMORY": (errors.OutOfMemory, "the server has no memory or disk for it: try later"),
    b"BAD_FORMAT": (errors.BadFormat, "the server could not read the command"),
    b"EXPECTED_CRLF": (errors.ExpectedCrlf, "the server did not find the end of the body"),
    b"INTERNAL_ERROR": (errors.InternalError, "a fault inside the server; see its log"),
    b"UNKNOWN_COMMAND": (errors.UnknownCommand, "the server is too old for this command"),
    b"BURIED": (errors.Buried, "the server ran out of memory and buried the job: kick it later"),
    b"TIMED_OUT": (errors.TimedOut, "no job came in time"),
    b"DEADLINE_SOON": (
        errors.DeadlineSoon,
        "a job held by this connection has less than a second left: settle or touch it, "
        "and wait a little before the next reserve",
    ),
}


def refusal(command: Command, words: list[bytes]) -> errors.BeanstalkException:
    """The error that a reply other than the success stands for."""
    status = words[0]
    if status not in command.refusals and status not in _EVERYWHERE:
        return unexpected(command, words)
    kind, hint = _ERRORS[status]
    values = tuple(word.decode("latin-1") for word in words[1:])
    error = kind(
        f"{command.verb}: {status.decode()}: {hint}",
        command=command.verb,
        status=status.decode(),
        values=values,
    )
    if isinstance(error, errors.Buried) and values and values[0].isdecimal():
        error.job_id = int(values[0])
    return error


def unexpected(command: Command | None, words: list[bytes]) -> errors.UnexpectedResponse:
    """The error for a reply that `command` cannot get, or (None) that nobody asked for."""
    verb = command.verb if command else None
    status, *values = [word.decode("latin-1") for word in words]
    asked = f"in reply to {verb}" if verb else "though nothing was asked"
    return errors.UnexpectedResponse(
        f"the server said {b' '.join(words)!r:.200} {asked}",
        command=verb,
        status=status,
        values=tuple(values),
    )


# --- the parser -----------------------------------------------------------------------------


class Parser:
    """Cuts what a server sends into replies, however the bytes are split.

    :meth:`feed` raises UnexpectedResponse when they cannot be replies; the stream is of no
    use then. What is kept between two calls is bounded by the limits above.
    """

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a line
        self._words: list[bytes] | None = None  # the line whose data is still on its way
        self._data = bytearray()  # as much of that data as has come
        self._size = 0  # of that data, without its CR LF

    def feed(self, chunk: bytes) -> Iterable[Reply]:
        """The replies that `chunk` completes. Take all of them before the next call."""
        if not self._rest and self._words is None:
            # One reply and no more, as it is where commands go one at a time.
            line, end, data = chunk.partition(b"\r\n")
            if end and len(line) <= MAX_REPLY_LINE:
                words = line.split(b" ")
                if words[0] not in WITH_DATA:
                    if not data:
                        return ((words, data),)
                elif data.endswith(b"\r\n") and words[-1] == b"%d" % (len(data) - 2):
                    return ((words, data[:-2]),)
        return self._cut(chunk)

    def _cut(self, chunk: bytes) -> Iterator[Reply]:
        if self._words is not None:
            self._data += chunk
            if len(self._data) < self._size + 2:
                return
            chunk = bytes(memoryview(self._data)[self._size :])
            with memoryview(self._data) as view:
                data = bytes(view[: self._size])
            words, self._words, self._data = self._words, None, bytearray()
            position = self._end_of_data(chunk, 0)
            yield words, data
        else:
            position = 0
            if self._rest:
                chunk = self._rest + chunk
                self._rest = b""
        while (end := chunk.find(b"\r\n", position)) >= 0:
            if end - position > MAX_REPLY_LINE:
                break
            words = chunk[position:end].split(b" ")
            position = end + 2
            if words[0] in WITH_DATA:
                size = self._size_of_data(words)
                end = position + size
                if len(chunk) < end + 2:
                    self._words, self._size = words, size
                    self._data += memoryview(chunk)[position:]
                    return
                data = chunk[position:end]
                position = self._end_of_data(chunk, end)
                yield words, data
            else:
                yield words, b""
        # Where the pieces of a line end must not matter: a CR may be the half of its end.
        if len(chunk) - position - chunk.endswith(b"\r") > MAX_REPLY_LINE:
            raise errors.UnexpectedResponse(
                f"a line of more than {MAX_REPLY_LINE} bytes: {chunk[position : position + 50]!r}…"
            )
        self._rest = chunk[position:]

    @staticmethod
    def _size_of_data(words: list[bytes]) -> int:
        last = words[-1]
        if len(words) < 2 or not last.isdigit() or len(last) > 20:
            raise unexpected(None, words)
        size = int(last)
        if size > MAX_REPLY_BODY:
            raise errors.UnexpectedResponse(
                f"{size} bytes of data were announced, more than any server sends",
                status=words[0].decode(),
            )
        return size

    @staticmethod
    def _end_of_data(chunk: bytes, end: int) -> int:
        if chunk[end : end + 2] != b"\r\n":
            raise errors.UnexpectedResponse("data does not end where its size says")
        return end + 2
