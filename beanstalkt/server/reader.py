"""Cuts what a client sends into lines and bodies, however the bytes are split."""

from __future__ import annotations

from ..protocol.commands import MAX_COMMAND_LINE

OVERLONG = b"\0"
"""Stands for a line that was longer than a line may be. Like any line with a NUL in it, it is
answered with BAD_FORMAT."""


class Reader:
    """The bytes of one client.

    What is kept is what was fed and not yet asked for, and the body under way. No bytes are
    looked at before they are asked for: what a body is, only the line before it tells.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0  # in the buffer, of the first byte not used yet
        self._overlong = False  # the end of an overlong line is still to come
        self._body = bytearray()  # the beginning of a body
        self._skip = 0  # bytes to be thrown away

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        rest = self._buffer[self._position :]
        self._buffer = rest + data if rest else data
        self._position = 0

    @property
    def buffered(self) -> int:
        """How many bytes wait to be asked for."""
        return len(self._buffer) - self._position

    def line(self) -> bytes | None:
        """The next line without its CR LF, OVERLONG, or None: not all of it has come.

        A line is looked for in a window of as many bytes as a line may have; a full window
        without one is thrown away. Only the first CR of a window counts (section 8.1).
        """
        while True:
            buffer, start = self._buffer, self._position
            end = buffer.find(b"\r", start, start + MAX_COMMAND_LINE - 1)
            if end >= 0 and buffer.startswith(b"\n", end + 1):
                self._position = end + 2
                if self._overlong:
                    self._overlong = False
                    return OVERLONG
                return buffer[start:end]
            if len(buffer) - start < MAX_COMMAND_LINE:
                return None
            self._position = start + MAX_COMMAND_LINE
            self._overlong = True

    def body(self, size: int) -> bytes | None:
        """The next `size` bytes, or None: not all of them have come. Ask again with that size."""
        start = self._position
        end = start + size - len(self._body)
        if end > len(self._buffer):
            # A bytearray, so that a large body in many pieces is not copied again for each.
            self._body += memoryview(self._buffer)[start:]
            self._buffer, self._position = b"", 0
            return None
        self._position = end
        piece = self._buffer[start:end]
        if not self._body:
            return piece
        self._body += piece
        body, self._body = bytes(self._body), bytearray()
        return body

    def skip(self, size: int) -> None:
        """Have the next `size` bytes thrown away, by :meth:`skipped`."""
        self._skip = size

    def skipped(self) -> bool:
        """Whether all that was to be thrown away has come, and has been."""
        here = min(self._skip, self.buffered)
        self._position += here
        self._skip -= here
        return not self._skip
