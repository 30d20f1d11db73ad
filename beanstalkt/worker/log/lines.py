"""What the runner tells: events with fields, as lines of text or of JSON."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Mapping

log = logging.getLogger("beanstalkt.worker")

SILENCE = 60.0
"""Seconds for which a message is not repeated that each of many clients would write."""

REMEMBERED = 1000
"""Messages that are remembered in order not to be repeated; of more, the oldest are forgotten."""

DEPTH = 20
"""Levels of lists and objects that a field of a JSON line may have."""

_PACKAGE = "beanstalkt"
_encode = json.JSONEncoder(allow_nan=False).encode
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+", re.ASCII)


class Event:
    """A word for what happened, and its fields; as a str, one line of text."""

    def __init__(self, name: str, fields: Mapping[str, object]) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return " ".join(
            [self.name, *(f"{key}={_quoted(value)}" for key, value in self.fields.items())]
        )


def tell(name: str, fields: Mapping[str, object], level: int = logging.INFO) -> None:
    """Log an event. The fields keep their order."""
    if log.isEnabledFor(level):
        # As log.log does it, but for the search of the line that calls: it is always this one.
        log.handle(log.makeRecord(log.name, level, __file__, 0, Event(name, fields), (), None))


def as_line(formatter: logging.Formatter, name: str, fields: Mapping[str, object]) -> str:
    """Make the line of a warning, for what cannot be logged in the usual way."""
    return formatter.format(
        log.makeRecord(log.name, logging.WARNING, __file__, 0, Event(name, fields), (), None)
    )


def _quoted(value: object) -> str:
    text = str(value)
    if type(value) in (int, float):
        return text
    # What a command wrote must begin no line of its own, nor steer a terminal: JSON escapes it.
    return text if text.isascii() and _PLAIN.fullmatch(text) else _without_delete(json.dumps(text))


def _without_delete(text: str) -> str:
    """Escape DEL in a text of JSON, the one control character that JSON leaves as it is."""
    return text.replace("\x7f", "\\u007f")


def to_json(line: Mapping[str, object]) -> str:
    """Make one line of JSON that every strict reader takes (RFC 8259), whatever the values are.

    Lone surrogates become U+FFFD. NaN, the infinities, keys that are no str and values of other
    types become the text that str() makes of them.
    """
    try:
        text = _encode(line)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_plain(line))
    else:
        # json.dumps writes a surrogate as if it were half of a character.
        if "\\ud" in text:
            text = json.dumps(_plain(line))
    return _without_delete(text)


def _plain(value: object, depth: int = DEPTH) -> object:
    """Copy a value with everything replaced that JSON cannot say."""
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
    """Makes the text of a time once a second."""

    _second = -1
    _text = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, super().formatTime(record, datefmt)
        return self._text


class TextFormatter(_Formatter):
    """``2024-05-01T12:00:00+0200 INFO job tube=mail id=7 …``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")


class JSONFormatter(_Formatter):
    """An object a line: ``time``, ``level``, ``event``, and the fields of the event."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname.lower(),
        }
        if isinstance(record.msg, Event):
            line["event"] = record.msg.name
            # Twice: these stand first, and no field of a job takes their place.
            line = {**line, **record.msg.fields, **line}
        else:
            line.update(event="message", message=_message(record))
        if record.exc_info:
            line["backtrace"] = self.formatException(record.exc_info)
        return to_json(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # the arguments do not fit; that must not become lines of no JSON
        return f"{_text(record.msg)} {_text(record.args)}"


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


class Once(logging.Filter):
    """Lets a message of this package through once, not once for each of 200 lost connections.

    Events, exceptions, and what other loggers say are never left out. Memory is bounded, and a
    message costs the same time however many there were before.
    """

    def __init__(self) -> None:
        super().__init__(_PACKAGE)
        self._seen: dict[str, float] = {}  # when each may come again; the earliest first

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, Event) or record.exc_info or not super().filter(record):
            return True
        now = time.monotonic()
        text = _message(record)
        if self._seen.get(text, now) > now:
            return False
        self._seen.pop(text, None)
        self._seen[text] = now + SILENCE
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
