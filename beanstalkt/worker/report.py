"""What the runner tells: events with fields, as lines of text or of JSON."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping

log = logging.getLogger("beanstalkt.worker")

SILENCE = 60.0
"""Seconds for which a message is not repeated that each of many clients would write."""

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


def _quoted(value: object) -> str:
    text = str(value)
    if type(value) in (int, float):
        return text
    # What a command wrote must begin no line of its own, nor steer a terminal: JSON escapes it.
    return text if text.isascii() and _PLAIN.fullmatch(text) else json.dumps(text)


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
            line.update(event=record.msg.name, **record.msg.fields)
        else:
            line.update(event="message", message=record.getMessage())
        if record.exc_info:
            line["backtrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


class Once(logging.Filter):
    """Lets a message through once, not once for each of 200 connections that were lost."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, Event) or record.exc_info:
            return True
        now = time.monotonic()
        self._seen = {text: end for text, end in self._seen.items() if end > now}
        text = record.getMessage()
        if text in self._seen:
            return False
        self._seen[text] = now + SILENCE
        return True
