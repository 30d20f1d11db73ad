"""Reads the lines of a configuration file, and remembers where each stood."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

_SECTION = re.compile(r"\[([^\[\]]*)\]")
_ENTRY = re.compile(r"([^=:]*?)\s*[=:]\s*(.*)")


@dataclass
class Entry:
    """One value, as text."""

    value: str
    line: int


@dataclass
class Section:
    """A section: its name as it stands between the brackets, and its entries by their keys."""

    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)


def parse(text: str, cased: Container[str] = ()) -> tuple[list[Section], list[tuple[int, str]]]:
    """The sections, and what is wrong with the lines: number and message.

    :param cased: the names of sections whose keys keep their case; all others are taken in lower

    A line is a ``[section]``, a ``key = value`` (or ``key: value``), a comment (``#`` or ``;`` at
    its beginning), empty, or, when it is indented, more of the value above it. Nothing in
    a value is special.
    """
    sections: list[Section] = []
    problems: list[tuple[int, str]] = []
    entry: Entry | None = None  # that an indented line continues
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if raw[0] in " \t" and entry is not None:
            entry.value = f"{entry.value} {line}".strip()
            continue
        entry = None
        if header := _SECTION.fullmatch(line):
            name = header[1].strip()
            for earlier in sections:
                if earlier.name == name:
                    problems.append((number, f"[{name}] stands in line {earlier.line} already"))
            sections.append(Section(name, number))
        elif not (found := _ENTRY.fullmatch(line)) or not found[1]:
            problems.append((number, f"{line[:60]!r} is neither a [section] nor key = value"))
        else:
            key, entry = found[1], Entry(found[2], number)
            if not sections or sections[-1].name not in cased:
                key = key.lower()
            if not sections:
                problems.append((number, f"{key} stands before the first [section]"))
                continue
            entries = sections[-1].entries
            if key in entries:
                problems.append((number, f"{key} stands in line {entries[key].line} already"))
            entries[key] = entry
    return sections, problems
