"""Reads a configuration file into sections, and keeps the line of each of their entries."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

_SECTION = re.compile(r"\[([^\[\]]*)\]")
_ENTRY = re.compile(r"([^=:]*?)\s*[=:]\s*(.*)")


@dataclass
class IniEntry:
    """The text that belongs to a key, and the number of its line."""

    value: str
    line: int


@dataclass
class IniSection:
    """A section: its name between the brackets, its line, and its entries by their keys."""

    name: str
    line: int
    entries: dict[str, IniEntry] = field(default_factory=dict)


def parse(text: str, cased: Container[str] = ()) -> tuple[list[IniSection], list[tuple[int, str]]]:
    """Return the sections of a text, and the problems: for each the line and a message.

    A line is a ``[section]``, a ``key = value`` (or ``key: value``), a comment (it begins with
    ``#`` or ``;``), empty, or, if it is indented, a continuation of the value above it. No
    character of a value has a special meaning.

    :param cased: names of the sections whose keys keep their case; other keys are lower-cased
    """
    sections: list[IniSection] = []
    problems: list[tuple[int, str]] = []
    entry: IniEntry | None = None  # that an indented line continues
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
            sections.append(IniSection(name, number))
        elif not (found := _ENTRY.fullmatch(line)) or not found[1]:
            problems.append((number, f"{line[:60]!r} is neither a [section] nor key = value"))
        else:
            key, entry = found[1], IniEntry(found[2], number)
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
