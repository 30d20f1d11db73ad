"""The table of jobs: a line for each, as wide as the terminal."""

from __future__ import annotations

from ..admin.record import JobRecord
from .tube_table import duration

HEADINGS = ("ID", "STATE", "PRIORITY", "AGE", "LEFT", "TTR", "RESV")
_FORM = "{:>10} {:8} {:>10} {:>5} {:>5} {:>5} {:>4}"

TUBE_WIDTH = 16
"""Characters for the names of tubes; a longer one moves what follows it to the right."""

MIN_BODY = 10
"""Characters of a body to show however narrow the terminal is."""


def heading(*, tubes: bool, bodies: bool) -> str:
    """Return the first line of the table."""
    return _line(HEADINGS, "TUBE" if tubes else None, "BODY" if bodies else "").rstrip()


def row(record: JobRecord, width: int, *, tubes: bool) -> str:
    """Return the line of a job; nothing in it controls a terminal.

    :param width: characters; the body is cut to it
    :param tubes: whether the name of the tube is shown
    """
    values = (
        str(record.id),
        record.state,
        str(record.priority),
        duration(record.age),
        duration(record.time_left) if record.state in ("delayed", "reserved") else "-",
        duration(record.ttr),
        str(record.reserves),
    )
    line = _line(values, record.tube if tubes else None, "")
    if record.body is None:
        return line.rstrip()
    return line + _shown(record.body, max(MIN_BODY, width - len(line)))


def _line(values: tuple[str, ...], tube: str | None, rest: str) -> str:
    name = "" if tube is None else f"{tube:{TUBE_WIDTH}} "
    return _printable(f"{_FORM.format(*values)} {name}") + rest


def _printable(text: str) -> str:
    """Replace each character that is not printed, such as one that controls a terminal."""
    return "".join(each if each.isprintable() else "·" for each in text)


def _shown(body: bytes, width: int) -> str:
    """Return the beginning of a body, with whatever is not printed in place of one character."""
    characters = body[: 4 * width + 4].decode("utf-8", "replace")
    shown = _printable(characters)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
