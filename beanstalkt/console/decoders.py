"""Shows a body in the ways that make sense for it: text, JSON, what is packed in it, and hex.

All of this is for the eyes of a person, so what a screen would not show is made visible, and
whatever a body holds, no view grows beyond a limit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Any

MAX_UNPACKED = 1 << 20
"""Bytes that a compressed body may grow to."""

MAX_TEXT = 1 << 20
"""Characters of a view at most."""

MAX_HEX = 1 << 16
"""Bytes that the hex view shows at most."""

MAX_LAYERS = 4
"""Layers that are unpacked, such as gzip in base64."""

MAX_DEPTH = 64
"""Lists within lists at most: deeper ones would be shown mostly as indentation."""

_CONTROLS = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    # What turns the direction of text, or has no width, can make it look like another.
    **{
        code: f"\u27e8U+{code:04X}\u27e9"
        for code in (
            *range(0x80, 0xA0),
            *(0x061C, 0xFEFF),
            *range(0x200B, 0x2010),
            *range(0x2028, 0x202F),
            *range(0x2060, 0x206A),
        )
    },
}
"""What is shown in the place of characters that cannot be seen."""

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4}){2,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def visible(text: str) -> str:
    """Return text in which everything can be seen."""
    return text.translate(_CONTROLS)


def views(body: bytes) -> list[dict[str, str]]:
    """Return the views of a body, the most telling first.

    Each is a dict with the ``name`` of the format, with what it is packed in (``json in gzip in
    base64``), and its ``text``.
    """
    found: list[dict[str, str]] = []
    wrapping = ""
    data = body
    for layer in range(MAX_LAYERS + 1):
        for name, view in _VIEWS.items():
            text = view(data)
            if text is not None:
                shown = visible(text[:MAX_TEXT])
                found.append({"name": name + wrapping, "text": shown})
        unpacked = _unpack(data) if layer < MAX_LAYERS else None
        if unpacked is None:
            break
        name, data = unpacked
        wrapping = f" in {name}{wrapping}"
    # What is innermost tells most; the hex of the body itself comes last.
    found.sort(key=lambda view: -view["name"].count(" in "))
    found.append({"name": "hex", "text": hex_dump(body)})
    return found


def preview(body: bytes, length: int = 200) -> str:
    """Return the beginning of a body in one line."""
    part = body[: 4 * length]
    try:
        # A character that the end of the part has cut is left out; any other fault is one.
        text = getincrementaldecoder("utf-8")().decode(part, final=len(part) == len(body))
    except UnicodeDecodeError:
        text = body[:length].hex(" ")
    return visible(" ".join(text.split()))[:length]


def hex_dump(body: bytes) -> str:
    """Return offset, hexadecimal digits and ASCII characters of a body, 16 bytes a line."""
    lines = []
    for start in range(0, min(len(body), MAX_HEX), 16):
        part = body[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  {shown}")
    if len(body) > MAX_HEX:
        lines.append(f"... {len(body) - MAX_HEX} more bytes")
    return "\n".join(lines)


# --- views -----------------------------------------------------------------------------------


def _json(data: bytes) -> str | None:
    # Any number is JSON, and looks the same as text.
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return _pretty(json.loads(data))
    except (ValueError, RecursionError):
        return None


def _msgpack(data: bytes) -> str | None:
    # A map or a list: any byte below 128 is a number to it.
    if not data or not (0x80 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF):
        return None
    try:
        import msgpack
    except ModuleNotFoundError:
        return None
    try:
        value = msgpack.unpackb(data, strict_map_key=False, timestamp=0)
        return _pretty(_plain(value))
    except Exception:  # of several kinds, and of no interest: it is no msgpack
        return None


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_VIEWS: dict[str, Callable[[bytes], str | None]] = {
    "json": _json,
    "msgpack": _msgpack,
    "text": _text,
}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value of msgpack as JSON can write it. Raises ValueError if it is too deep."""
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else repr(key): _plain(each, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, (str, int, float, type(None))):
        return value
    return repr(value)


def _pretty(value: Any) -> str | None:
    if _depth(value) > MAX_DEPTH:
        return None
    return json.dumps(value, indent=2, ensure_ascii=False)


def _depth(value: Any) -> int:
    """Return how deep lists and objects are within each other; stop where it is too deep."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        level, depth = inner, depth + 1
    return depth


# --- layers ----------------------------------------------------------------------------------


def _unpack(data: bytes) -> tuple[str, bytes] | None:
    """Return the name of the outermost packing of some bytes, and what is in it."""
    for name, unpack in (("gzip", _gunzip), ("zlib", _inflate), ("base64", _unbase64)):
        found = unpack(data)
        if found:
            return name, found
    return None


def _gunzip(data: bytes) -> bytes | None:
    return _decompress(data, 31) if data[:2] == b"\x1f\x8b" else None


def _inflate(data: bytes) -> bytes | None:
    if len(data) < 8 or data[0] != 0x78 or int.from_bytes(data[:2], "big") % 31:
        return None
    return _decompress(data, 15)


def _decompress(data: bytes, format_bits: int) -> bytes | None:
    try:
        return zlib.decompressobj(format_bits).decompress(data, MAX_UNPACKED)
    except zlib.error:
        return None


def _unbase64(data: bytes) -> bytes | None:
    stripped = b"".join(data.split())
    if not _BASE64.fullmatch(stripped):
        return None
    try:
        found = base64.b64decode(stripped, validate=True)
    except binascii.Error:
        return None
    # A word of eight letters can be read as base64 too: it must make sense.
    sensible = _text(found) or _gunzip(found) or _inflate(found) or _msgpack(found)
    return found if sensible else None
