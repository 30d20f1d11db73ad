"""Sizes of the address space of a child process, as they are written and as they are measured."""

from __future__ import annotations

import re
import resource

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str) -> int:
    """Read a number of bytes, such as ``300M``. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text.upper())
    if not found or not int(found[1]):
        raise ValueError("a number of bytes is expected, such as 300M or 2G")
    return int(found[1]) * _UNITS[found[2]]


def address_space() -> int | None:
    """Return the bytes of address space of this process; None if the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None
