"""How much memory: as it is written, and as a process has it."""

from __future__ import annotations

import re
import resource

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size(text: str) -> int:
    """A number of bytes, such as ``300M``. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text.upper())
    if not found or not int(found[1]):
        raise ValueError("a number of bytes is expected, such as 300M or 2G")
    return int(found[1]) * _UNITS[found[2]]


def address_space() -> int | None:
    """Bytes of address space that this process takes; None: the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None
