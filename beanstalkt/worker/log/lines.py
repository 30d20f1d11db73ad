"""Format what the runner logs: entries with fields, as lines of text or of JSON."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Mapping
from functools import lru_cache

log = logging.getLogger("beanstalkt.worker")

REPEAT_INTERVAL = 60.0
"""Seconds for which a message is not logged again. Each of many clients may log the same one."""

MAX_REMEMBERED = 1000
"""Number of messages that are remembered at most; the oldest is forgotten first."""

MAX_DEPTH = 20
"""Levels of lists and objects that a field of a JSON line may have."""

MAX_KNOWN = 200
"""Characters of a text that is remembered as it is quoted: the longest name of a tube."""

_PACKAGE = "beanstalkt"
_encode = json.JSONEncoder(allow_nan=False).encode
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+", re.ASCII)


class LogEntry:
    """A word for what happened, and its fields. As a str, an entry is one line of text."""

    def __init__(self, name: str, fields: Mapping[str, object]) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return " ".join(
            [self.name, *[f"{key}={_quoted(value)}" for key, value in self.fields.items()]]
        )


class OutputEntry(LogEntry):
    """A line that a command has written. As a str, it stands unquoted after where it is from."""

    def __str__(self) -> str:
        fields = self.fields
        where = f"{self.name} tube={fields['tube']} id={fields['id']} {fields['stream']}"
        return f"{where}: {_visible(str(fields['line']))}"


def log_entry(
    name: str,
    fields: Mapping[str, object],
    level: int = logging.INFO,
    kind: type[LogEntry] = LogEntry,
) -> None:
    """Log an entry, with its fields in their order."""
    if log.isEnabledFor(level):
        # log.log would also search for the line that calls it, which takes long and is no use.
        log.handle(log.makeRecord(log.name, level, __file__, 0, kind(name, fields), (), None))


def as_line(formatter: logging.Formatter, name: str, fields: Mapping[str, object]) -> str:
    """Return the line of a warning, for what cannot be logged in the usual way."""
    return formatter.format(
        log.makeRecord(log.name, logging.WARNING, __file__, 0, LogEntry(name, fields), (), None)
    )


def _quoted(value: object) -> str:
    if type(value) is str:
        return _quoted_text(value) if len(value) <= MAX_KNOWN else _quote(value)
    text = str(value)
    return text if type(value) in (int, float) else _quote(text)


def _quote(text: str) -> str:
    # The output of a command must neither begin another line nor control a terminal: JSON escapes
    # the characters that could.
    return text if text.isascii() and _PLAIN.fullmatch(text) else _without_delete(json.dumps(text))


_quoted_text = lru_cache(maxsize=256)(_quote)  # most texts are those of the entry before


def _visible(text: str) -> str:
    """Escape, as JSON does, what could begin another line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\t" else _without_delete(json.dumps(each)[1:-1])
        for each in text
    )


def _without_delete(text: str) -> str:
    """Escape DEL in a JSON text, the one control character that JSON does not escape."""
    return text.replace("\x7f", "\\u007f")


def to_json(line: Mapping[str, object]) -> str:
    """Return one line of JSON that strict parsers accept (RFC 8259), whatever the values are.

    Lone surrogates become U+FFFD. NaN, the infinities, keys that are no str and values of other
    types become the text that str() makes of them.
    """
    try:
        text = _encode(line)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_plain(line))
    else:
        # The encoder writes a lone surrogate as if it were half of a character.
        if "\\ud" in text:
            text = json.dumps(_plain(line))
    return _without_delete(text)


def _plain(value: object, depth: int = MAX_DEPTH) -> object:
    """Return a copy of a value, with everything replaced that JSON cannot represent."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth and isinstance(value, Mapping):
        return {str(_plain(_text(key))): _plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    return _text(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # whatever the value's own __str__ raises
        return f"({type(value).__qualname__})"


class _Formatter(logging.Formatter):
    """Format the time once a second."""

    _second = -1
    _text = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time of a record."""
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, super().formatTime(record, datefmt)
        return self._text


class TextFormatter(_Formatter):
    """Make lines such as ``2024-05-01T12:00:00+0200 INFO job tube=mail id=7 …``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")


class JSONFormatter(_Formatter):
    """Make a JSON object a line: ``time``, ``level``, ``event``, and the fields of the entry."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        line: dict[str, object] = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname.lower(),
        }
        if isinstance(record.msg, LogEntry):
            line["event"] = record.msg.name
            # `line` twice: its keys come first, and no field of a job replaces them.
            line = {**line, **record.msg.fields, **line}
        else:
            line.update(event="message", message=_message(record))
        if record.exc_info:
            line["backtrace"] = self.formatException(record.exc_info)
        return to_json(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # the arguments do not fit; logging would write lines that are not JSON
        return f"{_text(record.msg)} {_text(record.args)}"


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


class RepeatFilter(logging.Filter):
    """Drop a message of this package that was logged less than REPEAT_INTERVAL ago.

    So a message is logged once, not once for each of 200 lost connections. Entries, exceptions,
    and messages of other loggers are never dropped. Memory is bounded, and a message takes the
    same time however many there were before.
    """

    def __init__(self) -> None:
        super().__init__(_PACKAGE)
        self._seen: dict[str, float] = {}  # when each may be logged again; the earliest first

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be logged."""
        if isinstance(record.msg, LogEntry) or record.exc_info or not super().filter(record):
            return True
        now = time.monotonic()
        text = _message(record)
        if self._seen.get(text, now) > now:
            return False
        self._seen.pop(text, None)
        self._seen[text] = now + REPEAT_INTERVAL
        if len(self._seen) > MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
