"""What a command writes, shown line by line while it runs, and kept as without that."""

from __future__ import annotations

from collections.abc import Callable

from .captured_output import CapturedOutput

MAX_LINE = 8 * 1024
"""Bytes of a line that are shown at once; a longer line is shown in pieces."""

_MAX_CHARACTER = 4
"""Bytes of a character of UTF-8 at most."""


class ShownOutput(CapturedOutput):
    """Keep one stream of a command, and show each of its lines as soon as it is complete.

    A line ends with LF or CR LF. What is not UTF-8 is replaced by U+FFFD.

    :param show: is called with each line, without its end
    """

    # The loop must get its turn between two reads, however short the lines are.
    chunk = 8 * 1024

    def __init__(self, show: Callable[[str], object]) -> None:
        super().__init__()
        self._show = show
        self._rest = b""  # of a line whose end was not read yet

    def feed(self, data: bytes) -> None:
        """Keep the bytes that were read next, and show the lines that end in them."""
        super().feed(data)
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show_line(line)
        # One byte more, because it may be the CR of the line's end.
        self._rest = self._show_pieces(rest, MAX_LINE + 1)

    def finish(self) -> None:
        """Show the last line, if it has no end."""
        if self._rest:
            self._show_line(self._rest)
            self._rest = b""

    def _show_line(self, line: bytes) -> None:
        line = self._show_pieces(line.removesuffix(b"\r"), MAX_LINE)
        self._show(line.decode("utf-8", "replace"))

    def _show_pieces(self, line: bytes, limit: int) -> bytes:
        """Show pieces of a line until the rest is no longer than the limit; return the rest."""
        while len(line) > limit:
            end = _piece_end(line)
            self._show(line[:end].decode("utf-8", "replace"))
            line = line[end:]
        return line


def _piece_end(line: bytes) -> int:
    """Return where to cut a long line, which is not within a character of UTF-8."""
    for end in range(MAX_LINE, MAX_LINE - _MAX_CHARACTER, -1):
        if line[end] & 0xC0 != 0x80:  # it begins a character
            return end
    return MAX_LINE
