"""The table of jobs: a line for each, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from ..admin.record import JobRecord
from .tube_table import duration

HEADINGS = ("ID", "STATE", "PRIORITY", "AGE", "LEFT", "TTR", "RESV")
_FORM = "{:8} {:>10} {:>5} {:>5} {:>5} {:>4}"

ID_WIDTH = 10
"""Characters for the ids of one server; a longer one moves what follows it to the right."""

NUMBER_WIDTH = 8
"""The same for what follows the name of one of several servers in an id."""

TUBE_WIDTH = 16
"""Characters for the names of tubes; a longer one moves what follows it to the right."""

MIN_BODY = 10
"""Characters of a body to show however narrow the terminal is."""


def id_width(servers: Iterable[str]) -> int:
    """Return the characters for ids; `servers` are the names of several servers, if there are."""
    return max((len(name) + NUMBER_WIDTH for name in servers), default=ID_WIDTH)


def heading(*, tubes: bool, bodies: bool, id_width: int = ID_WIDTH) -> str:
    """Return the first line of the table."""
    rest = "BODY" if bodies else ""
    return _line(HEADINGS, "TUBE" if tubes else None, rest, id_width).rstrip()


def row(record: JobRecord, width: int, *, tubes: bool, id_width: int = ID_WIDTH) -> str:
    """Return the line of a job; nothing in it controls a terminal.

    :param width: characters; the body is cut to it
    :param tubes: whether the name of the tube is shown
    """
    values = (
        str(record.name),
        record.state,
        str(record.priority),
        duration(record.age),
        duration(record.time_left) if record.state in ("delayed", "reserved") else "-",
        duration(record.ttr),
        str(record.reserves),
    )
    line = _line(values, record.tube if tubes else None, "", id_width)
    if record.body is None:
        return line.rstrip()
    return line + _shown(record.body, max(MIN_BODY, width - len(line)))


def _line(values: tuple[str, ...], tube: str | None, rest: str, id_width: int) -> str:
    name = "" if tube is None else f"{tube:{TUBE_WIDTH}} "
    job_id, *others = values
    return _printable(f"{job_id:>{id_width}} {_FORM.format(*others)} {name}") + rest


def _printable(text: str) -> str:
    """Replace each character that is not printed, such as one that controls a terminal."""
    return "".join(each if each.isprintable() else "·" for each in text)


def _shown(body: bytes, width: int) -> str:
    """Return the beginning of a body, with whatever is not printed in place of one character."""
    characters = body[: 4 * width + 4].decode("utf-8", "replace")
    shown = _printable(characters)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
