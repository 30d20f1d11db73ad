"""How a message to or from a child is framed: its length, then itself."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

HEADER = struct.Struct("!Q")


def pack(message: Mapping[str, object]) -> bytes:
    """A message in JSON, framed."""
    return frame(json.dumps(message).encode())


def frame(data: bytes) -> bytes:
    """Bytes, framed."""
    return HEADER.pack(len(data)) + data


class Incoming:
    """The message that is being read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take what was read next; gives the message when it is whole."""
        self._buffer += data
        if len(self._buffer) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return message
