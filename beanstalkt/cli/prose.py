"""The texts of the help: prose, which is filled to a width, and lines that are kept as is."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

WIDEST = 98
"""The most characters in a line of prose, however wide the terminal is."""


def blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Divide a text into parts; yield for each whether it is prose, and its lines.

    An indented line, such as an example, is no prose. A part that an empty line comes after ends
    with that line.
    """
    part: list[str] = []
    prose = True
    for line in text.strip("\n").splitlines():
        is_prose = not line.startswith(" ")
        if line and part and (not part[-1] or is_prose != prose):
            yield prose, part
            part = []
        if line:
            prose = is_prose
        part.append(line)
    if part:
        yield prose, part


class HelpFormatter(argparse.HelpFormatter):
    """Fill the prose of descriptions and epilogs to the width of the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for prose, part in blocks(text):
            if not prose:
                lines += part
                continue
            lines += textwrap.wrap(
                " ".join(part), min(width, WIDEST), break_on_hyphens=False, break_long_words=False
            )
            lines += [""] * (not part[-1])
        return "".join(f"{indent}{line}".rstrip() + "\n" for line in lines)
