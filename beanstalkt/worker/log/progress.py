"""A line on the terminal that shows how far a burst has come."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TextIO

from ..policy.outcome import Kind, Outcome

INTERVAL = 0.1
"""Seconds between two changes of the line."""


if TYPE_CHECKING:
    _Handler = logging.StreamHandler[TextIO]
else:  # Python 3.10 cannot subscript it
    _Handler = logging.StreamHandler


class Progress(_Handler):
    """Counts the jobs, and keeps its line below whatever is logged.

    Jobs that went well need no log line of their own then.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)  # None: standard error, as it is now
        self._began = time.monotonic()
        self._next = 0.0
        self._done = 0
        self._failed = 0

    def ended(self, outcome: Outcome) -> None:
        """A job has ended."""
        self._done += 1
        self._failed += outcome.kind is not Kind.SUCCESS
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            self._show()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno <= logging.INFO:
            return
        self._write("\r\x1b[K")
        super().emit(record)
        self._show()

    def finish(self) -> None:
        """Leave the last state standing."""
        self._show()
        self._write("\n")

    def _show(self) -> None:
        seconds = max(time.monotonic() - self._began, 1e-3)
        self._write(
            f"\r\x1b[K{self._done} jobs, {self._failed} failed, {self._done / seconds:.0f} jobs/s"
        )

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            pass  # the terminal is gone; the jobs go on
