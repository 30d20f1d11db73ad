"""What a command wrote: its beginning and its end are kept, and what is between is counted."""

from __future__ import annotations

import json

KEPT = 32 * 1024
"""Bytes kept of the beginning, and as many of the end."""

SHOWN = 1000
"""Characters of an error that go to the log."""

UNCLASSIFIED = "UnclassifiedRunnerError"
"""The name of an error whose command did not name it."""


class Output:
    """One stream of a command. However much is written, memory stays bounded."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = bytearray()
        #: bytes written
        self.total = 0

    def feed(self, data: bytes) -> None:
        """Take what was read next."""
        self.total += len(data)
        if room := KEPT - len(self._head):
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Not at every read: cutting the front off means moving the rest.
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def kept(self) -> bytes:
        """All of it, or, when it was too much, the first and last bytes and what lies between."""
        tail = bytes(self._tail[-KEPT:])
        left_out = self.total - len(self._head) - len(tail)
        gap = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return self._head + gap + tail

    def complete(self) -> bool:
        """Whether `kept` is all of it."""
        return self.total <= 2 * KEPT


def failure(stderr: Output) -> dict[str, object]:
    """What the standard error of a command that failed says, as fields for the log.

    Where it is a JSON object with ``exception``, ``error`` or ``backtrace``, those; else the
    end of the text, as the error of an ``UnclassifiedRunnerError``.
    """
    text = stderr.kept().decode("utf-8", "replace").strip()
    if stderr.complete() and text.startswith("{"):
        try:
            said = json.loads(text)
        # Nested too deeply, it is RecursionError.
        except (ValueError, RecursionError):
            said = {}
        found = {
            key: _shown(said[key]) for key in ("exception", "error", "backtrace") if key in said
        }
        if found:
            return {"exception": UNCLASSIFIED, **found}
    return {"exception": UNCLASSIFIED, "error": text[-SHOWN:]}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:SHOWN]
