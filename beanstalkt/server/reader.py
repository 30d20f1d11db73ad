"""Splitting the bytes of a client into command lines and job bodies."""

from __future__ import annotations

from ..protocol.commands import MAX_COMMAND_LINE

OVERLONG = b"\0"
"""A stand-in for a line that is longer than a line may be.

Every line that contains a NUL is answered BAD_FORMAT, and so this one is too.
"""


class Reader:
    """Buffer what one client sends, and return it in lines and bodies.

    Bytes are examined only when they are asked for, because it depends on the line before them
    whether they are a line or a body. The buffer holds the bytes that were fed and not yet asked
    for, and the body that has arrived in part.
    """

    __slots__ = ("_body", "_buffer", "_overlong", "_position", "_skip")

    def __init__(self) -> None:
        self._buffer = b""
        #: the index in the buffer of the first byte that has not been returned
        self._position = 0
        #: whether the end of an overlong line has still to arrive
        self._overlong = False
        #: the part of a body that has arrived
        self._body = bytearray()
        #: the number of bytes to throw away
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Append bytes that the client has sent."""
        rest = self._buffer[self._position :]
        self._buffer = rest + data if rest else data
        self._position = 0

    @property
    def buffered(self) -> int:
        """Return the number of bytes that were fed and not yet asked for."""
        return len(self._buffer) - self._position

    def line(self) -> bytes | None:
        """Return the next line without its CR LF, or None until it has arrived completely.

        A line is searched in a window of as many bytes as a line may have. If the window is full
        and has no line, it is thrown away, and OVERLONG is returned for the line that ends later.
        Only the first CR of a window counts (section 8.1).
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
        """Return the next `size` bytes, or None until all of them have arrived.

        After None, the next call must ask for the same size.
        """
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
        """Arrange that :meth:`skipped` throws away the next `size` bytes."""
        self._skip = size

    def skipped(self) -> bool:
        """Throw away what has arrived of the bytes to skip; return whether that was all."""
        count = min(self._skip, self.buffered)
        self._position += count
        self._skip -= count
        return not self._skip
