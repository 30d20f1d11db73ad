"""The table of tubes: its columns, how it is sorted, and how it fits a terminal.

Pure: `stats-tube` prints it, and `top` shows the same columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..admin import Snapshot, TubeSample
from .together import ServerTube, Together

Value = float | str | None

LONGEST_TEXT = 14
"""Characters to which a name and notes are cut before other columns are left out."""

SHORTEST_NAME = 8
"""Characters to which a name is cut when no more columns can be left out."""


@dataclass(frozen=True)
class Column:
    """Describe a column of the table.

    :ivar key: what it is called in options and JSON
    :ivar title: its heading
    :ivar meaning: what it shows, for the help
    :ivar value: what it is sorted by
    :ivar show: how a value is written
    :ivar watched: whether it needs more than one snapshot
    """

    key: str
    title: str
    meaning: str
    value: Callable[[TubeSample], Value]
    show: Callable[[Value], str]
    watched: bool = False

    @property
    def is_text(self) -> bool:
        """Return whether it is aligned to the left, and sorted from A to Z."""
        return self.key in ("name", "server", "notes")


def whole(value: Value) -> str:
    """Write a number of jobs in 5 characters: 1234, 123k, 1.2M."""
    if value is None or isinstance(value, str):
        return "-"
    return str(int(value)) if value < 100_000 else _scaled(value)


def rate(value: Value) -> str:
    """Write a number a second in 5 characters: 0, 0.25, 12.3, 1234, 123k."""
    if value is None or isinstance(value, str):
        return "-"
    if not value:
        return "0"
    if value < 0.01:
        return "<0.01"
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 1000 else whole(value)


def duration(value: Value) -> str:
    """Write seconds in 5 characters: 42s, 12m, 3.4h, 12d."""
    if value is None or isinstance(value, str):
        return "-"
    if value < 100:
        return f"{value:.0f}s"
    for length, letter in ((60, "m"), (3600, "h"), (86_400, "d")):
        if value < 100 * length:
            count = value / length
            return f"{count:.1f}{letter}" if count < 10 else f"{count:.0f}{letter}"
    return ">99d"


def _scaled(value: float) -> str:
    for letter in "kMGT":
        value /= 1000
        if value < 999.5:
            return f"{value:.1f}{letter}" if value < 9.95 else f"{value:.0f}{letter}"
    return ">999T"


def text(value: Value) -> str:
    """Write text so that it cannot control a terminal."""
    return "".join(each if " " <= each <= "~" else "?" for each in str(value or ""))


def _into(tube: TubeSample) -> Value:
    return None if tube.rates is None else tube.rates.into


def _out(tube: TubeSample) -> Value:
    return None if tube.rates is None else tube.rates.out


def notes_of(tube: TubeSample) -> str:
    """Return what deserves attention at a tube, in words; with the rest of a pause."""
    return ", ".join(
        f"paused {duration(tube.paused_for)}" if badge == "paused" else str(badge)
        for badge in tube.badges
    )


def _server(tube: TubeSample) -> Value:
    return tube.server or None if isinstance(tube, ServerTube) else None


COLUMNS = (
    Column("name", "TUBE", "the name of the tube", lambda tube: tube.name, text),
    Column("server", "SERVER", "the name of the server, if there are several", _server, text),
    Column("ready", "READY", "jobs that can be reserved", lambda tube: tube.ready, whole),
    Column("reserved", "RESV", "jobs that workers hold", lambda tube: tube.reserved, whole),
    Column("delayed", "DELAY", "jobs that become ready later", lambda tube: tube.delayed, whole),
    Column("buried", "BURY", "jobs that were put aside", lambda tube: tube.buried, whole),
    Column(
        "workers", "WORK", "connections that watch the tube", lambda tube: tube.watching, whole
    ),
    Column("waiting", "WAIT", "connections that wait for a job", lambda tube: tube.waiting, whole),
    Column("total", "TOTAL", "jobs ever put into the tube", lambda tube: tube.total, whole),
    Column("in", "IN/S", "jobs put a second", _into, rate, watched=True),
    Column("out", "OUT/S", "jobs deleted a second", _out, rate, watched=True),
    Column(
        "drain",
        "DRAIN",
        "time until no job is ready, at these rates",
        lambda tube: tube.drain_seconds,
        duration,
        watched=True,
    ),
    Column(
        "age",
        "AGE",
        "time since the next ready job was put",
        lambda tube: None if tube.head is None else tube.head.age,
        duration,
    ),
    Column("notes", "NOTES", "what deserves attention", notes_of, text),
)
"""All columns, in their order."""

BY_KEY = {column.key: column for column in COLUMNS}

SORTABLE = [column.key for column in COLUMNS if column.key != "notes"]
"""The keys of the columns to sort by."""

LEFT_OUT = ("total", "waiting", "delayed", "drain", "reserved", "workers", "out", "in")
"""The keys of the columns that a narrow terminal does without, the first one first."""


def columns_of(tubes: Iterable[TubeSample]) -> list[Column]:
    """Return all columns that tubes may have; that of the server if any of them has its name."""
    named = any(_server(tube) for tube in tubes)
    return [column for column in COLUMNS if named or column.key != "server"]


def sorted_tubes(
    tubes: Iterable[TubeSample], key: str, *, backwards: bool = False
) -> list[TubeSample]:
    """Return the tubes in the order of a column: text from A to Z, the largest numbers first.

    Tubes whose value is not known come last. Equal ones are in the order of their names.
    """
    column = BY_KEY[key]
    by_name = sorted(tubes, key=lambda tube: (tube.name, str(_server(tube))))
    known = [tube for tube in by_name if column.value(tube) is not None]
    unknown = [tube for tube in by_name if column.value(tube) is None]
    known.sort(key=column.value, reverse=backwards == column.is_text)  # type: ignore[arg-type]
    return known + unknown


def table(
    tubes: Sequence[TubeSample], columns: Sequence[Column], width: int | None = None
) -> list[str]:
    """Return the lines of a table, the headings first.

    :param width: the number of characters of a line; None: no limit, and whole numbers are
        written in full
    """
    cells = {column.key: [_cell(column, tube, width) for tube in tubes] for column in columns}
    lengths = {column.key: max(map(len, [column.title, *cells[column.key]])) for column in columns}
    chosen = list(columns)
    if width is not None:
        chosen = fit(columns, lengths, width)
        _shorten_texts(lengths, sum(lengths[column.key] + 1 for column in chosen) - 1 - width)
    rows = [[column.title for column in chosen]]
    rows += [[cells[column.key][place] for column in chosen] for place in range(len(tubes))]
    return [_line(row, chosen, lengths, width) for row in rows]


def fit(columns: Sequence[Column], lengths: dict[str, int], width: int) -> list[Column]:
    """Return the columns that fit into a line, leaving out some of `LEFT_OUT` if need be.

    :param lengths: the characters that each column has, by its key
    """
    needed = sum(min(lengths[each.key], LONGEST_TEXT) + 1 for each in columns) - 1
    gone = set()
    for key in LEFT_OUT:
        if needed <= width:
            break
        if any(column.key == key for column in columns):
            gone.add(key)
            needed -= lengths[key] + 1
    return [column for column in columns if column.key not in gone]


def _shorten_texts(lengths: dict[str, int], excess: int) -> None:
    """Make names and notes shorter by `excess` characters, if they can be."""
    for key, least in (
        *(("name", LONGEST_TEXT), ("notes", LONGEST_TEXT), ("server", LONGEST_TEXT)),
        *(("name", SHORTEST_NAME), ("server", SHORTEST_NAME)),
    ):
        if key in lengths:
            less = max(min(excess, lengths[key] - least), 0)
            lengths[key] -= less
            excess -= less


def shortened(name: str, width: int) -> str:
    """Cut text that is too long, and mark that with a tilde."""
    return name if len(name) <= width else name[: max(width - 1, 0)] + "~"[:width]


def _cell(column: Column, tube: TubeSample, width: int | None) -> str:
    value = column.value(tube)
    if width is None and column.show is whole and value is not None:
        return str(value)
    return column.show(value)


def _line(
    row: list[str], columns: Sequence[Column], widths: dict[str, int], width: int | None
) -> str:
    parts = []
    for cell, column in zip(row, columns, strict=True):
        size = widths[column.key]
        cell = shortened(cell, size)
        parts.append(cell.ljust(size) if column.is_text else cell.rjust(size))
    line = " ".join(parts).rstrip()
    return line if width is None else line[:width]


def headline(snapshot: Snapshot) -> str:
    """Say in a line what is known of the server as a whole."""
    if not snapshot.up:
        return f"{text(snapshot.server)} is not available: {reason(snapshot)}"
    stats, rates = snapshot.stats, snapshot.rates
    parts = [*map(str, snapshot.badges), _tube_count(snapshot)]
    if snapshot.restarted:
        parts.insert(0, "restarted")
    if rates is not None:
        parts.append(f"in {rate(rates.into)}/s out {rate(rates.out)}/s")
    parts += [
        f"{whole(stats.get('current-jobs-ready', 0))} ready",
        f"{whole(stats.get('current-jobs-buried', 0))} buried",
        f"{whole(stats.get('current-workers', 0))} workers",
    ]
    return "; ".join([f"{text(snapshot.server)}: {', '.join(parts)}", *told_away(snapshot)])


def told_away(snapshot: Snapshot) -> list[str]:
    """Say which of several servers are not available, and why."""
    if not isinstance(snapshot, Together):
        return []
    return [f"{text(name)} is not available: {text(why)}" for name, why in snapshot.away.items()]


def reason(snapshot: Snapshot) -> str:
    """Say why the server is not available, without naming it."""
    return text((snapshot.error or "").replace(f" to {snapshot.server}", ""))


def _tube_count(snapshot: Snapshot) -> str:
    shown, there = len(snapshot.tubes), snapshot.tube_count
    of_all = "" if shown == there else f" of {there}"
    return f"{shown}{of_all} tube{'' if there == 1 else 's'}"


def as_dict(tube: TubeSample, *, watched: bool) -> dict[str, object]:
    """Return what is known of a tube, for JSON: its statistics, and what was made of them."""
    made: dict[str, object] = {"badges": [badge.value for badge in tube.badges]}
    if tube.head is not None:
        made["head-id"], made["head-age"] = tube.head.id, tube.head.age
    if isinstance(tube, ServerTube):
        if tube.head is not None:
            made["head-id"] = f"{tube.head_server}/{tube.head.id}"
        if tube.server:
            made["server"] = tube.server
    if watched:
        drain = tube.drain_seconds
        made["rate-in"] = _rounded(_into(tube))
        made["rate-out"] = _rounded(_out(tube))
        made["drain-seconds"] = _rounded(drain)
    return {**tube.stats, **made}


def _rounded(value: Value) -> float | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(value, 3)
