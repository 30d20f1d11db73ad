"""Framing of the messages between the runner and a child: the length, then the message."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

HEADER = struct.Struct("!Q")
"""The length of a message in bytes, which precedes it."""


def pack(message: Mapping[str, object]) -> bytes:
    """Encode a message in JSON, and frame it."""
    return frame(json.dumps(message).encode())


def frame(data: bytes) -> bytes:
    """Return these bytes as a framed message."""
    return HEADER.pack(len(data)) + data


class FrameReader:
    """Assemble one message from the pieces in which it is read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take the bytes that were read next; return the message when it is complete."""
        self._buffer += data
        if len(self._buffer) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return message
