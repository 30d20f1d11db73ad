"""What a command wrote: the beginning and the end are kept, the bytes between are counted."""

from __future__ import annotations

import json

from ..policy.exceptions import MAX_ERROR_LENGTH

KEPT = 32 * 1024
"""Bytes that are kept of the beginning, and again of the end."""

UNCLASSIFIED = "UnclassifiedRunnerError"
"""The name of an error to which its command gave none."""


class CapturedOutput:
    """Keep one stream of a command in bounded memory, however much is written."""

    #: bytes to read at once, at most
    chunk = 64 * 1024

    def __init__(self) -> None:
        self._head = b""
        self._tail = bytearray()
        #: number of bytes that were written
        self.total = 0

    def feed(self, data: bytes) -> None:
        """Take the bytes that were read next."""
        self.total += len(data)
        if room := KEPT - len(self._head):
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Not at every read: cutting bytes off the front moves all the others.
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def kept(self) -> bytes:
        """Return everything, or the first and last bytes with a note of how many are missing."""
        tail = bytes(self._tail[-KEPT:])
        left_out = self.total - len(self._head) - len(tail)
        gap = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return self._head + gap + tail

    def complete(self) -> bool:
        """Return whether nothing is missing from `kept`."""
        return self.total <= 2 * KEPT


def describe_failure(stderr: CapturedOutput) -> dict[str, object]:
    """Return the fields for the log that the standard error of a failed command gives.

    If it is a JSON object with ``exception``, ``error`` or ``backtrace``, these are returned.
    Otherwise its end is the ``error`` of an ``UnclassifiedRunnerError``.
    """
    text = stderr.kept().decode("utf-8", "replace").strip()
    if stderr.complete() and text.startswith("{"):
        try:
            report = json.loads(text)
        except (ValueError, RecursionError):  # the latter if it is nested too deeply
            report = {}
        found = {
            key: _shortened(report[key])
            for key in ("exception", "error", "backtrace")
            if key in report
        }
        if found:
            return {"exception": UNCLASSIFIED, **found}
    return {"exception": UNCLASSIFIED, "error": text[-MAX_ERROR_LENGTH:]}


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_ERROR_LENGTH]
