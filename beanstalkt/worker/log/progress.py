"""Show on a terminal how far a burst has come."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TextIO

from ..events import Event, JobFinished
from ..policy.outcome import Kind
from .lines import OutputEntry

REDRAW_INTERVAL = 0.1
"""Seconds between two changes of the line."""


if TYPE_CHECKING:
    _Handler = logging.StreamHandler[TextIO]
else:  # Python 3.10 cannot subscript it
    _Handler = logging.StreamHandler


class Progress(_Handler):
    """Count jobs in a line of a terminal, and write log records above that line.

    Records of level INFO and less, such as those of jobs that succeeded, are not written, except
    the output of commands.
    """

    events = frozenset({JobFinished})

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)  # None stands for the present sys.stderr
        self._began = time.monotonic()
        self._next = 0.0
        self._done = 0
        self._failed = 0

    def __call__(self, event: Event) -> None:
        """Count a job that has finished."""
        if not isinstance(event, JobFinished):
            return
        self._done += 1
        self._failed += event.outcome is not Kind.SUCCESS
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REDRAW_INTERVAL
            self._show()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in the place of the line, and the line below it."""
        if record.levelno <= logging.INFO and not isinstance(record.msg, OutputEntry):
            return
        self._write("\r\x1b[K")
        super().emit(record)
        self._show()

    def finish(self) -> None:
        """Show the last numbers, and end the line."""
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
            pass  # the terminal is gone, which must not end the jobs
