"""The verb stats-tube: the statistics of one tube as JSON, or those of all tubes as a table."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from ..admin import Sampler, Snapshot, TubeFilter, TubeSample
from ..admin.rates import Progression
from ..admin.reading import read
from ..admin.several import Clients, raise_all
from ..client.client import Client
from .connected import connected
from .converters import count, positive_seconds, tube
from .formats import add_json_lines, emit_value
from .output import emit, is_dumb
from .stdio import say
from .together import SamplerGroup, together
from .tube_options import add_tube_options
from .tube_table import (
    COLUMNS,
    as_dict,
    columns_of,
    headline,
    shortened,
    sorted_tubes,
    table,
)
from .verbs import Verb

DESCRIPTION = """\
Print the statistics of a tube as JSON, or those of all tubes as a table. Nothing is
reserved or changed.
"""

WATCH_INTERVAL = 2.0
"""Seconds between two tables, unless ``--watch`` is given another number."""

HEADS = 50
"""Tubes at most whose next ready job is looked at for ``--age``."""

EPILOG = f"""\
A pattern is that of a shell: * is any text, ? any character, [ab] one of these.

On a terminal, a table that is watched stays in place; elsewhere each one is printed
after the last. With --json-lines, each tube is a line of JSON: its statistics, and
"badges" for what deserves attention; with --watch also "time" and rates a second.

With several servers, each has a row of its own for each tube; --sum adds up those of the
same name. A TUBE alone is printed as the sums of all servers.

--age looks at the next ready job of the {HEADS} tubes that have most of them, for which
the server sends those jobs. The rates of --watch are measured over 5 seconds or more.

columns:
{chr(10).join(f"  {each.title:6} {each.meaning}" for each in COLUMNS)}

examples:
  beanstalkt stats-tube mail
  beanstalkt stats-tube --sort ready --limit 10
  beanstalkt stats-tube --filter 'mail.*' --watch=5
  beanstalkt --server a=URL --server b=URL stats-tube --sum
  beanstalkt stats-tube --json-lines | grep '"no workers"'
"""


async def stats_tube(client: Client | Clients, options: Namespace) -> None:
    """Print the statistics of a tube as JSON, or those of all as a table, once or repeatedly."""
    if _is_of_one_tube(options):
        only: Any = client  # or a pool
        emit_value(await only.stats_tube(options.tube), options)
        return
    tubes = TubeFilter(options.filter or "*" if options.tube is None else options.tube)
    heads = HEADS if options.age else 0
    if options.watch is None:
        await _print_all(client, options, tubes, heads)
        return
    source = await sampler_of(
        client, options.watch, options.response_timeout, tubes, heads, sums=options.sums
    )
    show = Screen(options).show if _in_place(options) else print_again
    async with source.subscribe() as snapshots:
        async for snapshot in snapshots:
            show(snapshot, options)


async def _print_all(
    client: Client | Clients, options: Namespace, tubes: TubeFilter, heads: int
) -> None:
    """Print the tubes of one server or of several once, also where one of these is lost."""
    if not isinstance(client, Mapping):
        snapshot = Progression(str(client.address)).up(await read(client, tubes, heads))
        print_once(snapshot, options)
        return
    reads = (read(each, tubes, heads) for each in client.values())
    results = await asyncio.gather(*reads, return_exceptions=True)
    snapshots: dict[str, Snapshot] = {}
    errors: dict[str, BaseException] = {}
    for name, result in zip(client, results, strict=True):
        if isinstance(result, BaseException):
            errors[name] = result
        else:
            snapshots[name] = Progression(name).up(result)
    if snapshots:
        print_once(together(snapshots, sums=options.sums), options)
    raise_all(errors)


async def sampler_of(
    client: Client | Clients,
    interval: float,
    timeout: float,
    tubes: TubeFilter,
    heads: int,
    *,
    sums: bool,
) -> Sampler | SamplerGroup:
    """Return a sampler of the server of a client, or one of several servers; close the clients.

    The samplers have connections of their own, which end soon, also if a server is frozen then.
    """
    clients = client if isinstance(client, Mapping) else {"": client}
    await asyncio.gather(*(each.close() for each in clients.values()))
    samplers = {
        name: Sampler(
            str(each.address), interval, timeout=timeout, tubes=tubes, heads=heads, history=0
        )
        for name, each in clients.items()
    }
    if isinstance(client, Mapping):
        return SamplerGroup(samplers, sums=sums)
    return samplers[""]


def rows_of(snapshot: Snapshot, options: Namespace) -> list[TubeSample]:
    """Return the tubes to show, in order."""
    rows = sorted_tubes(snapshot.tubes.values(), options.sort, backwards=options.reverse)
    return rows if options.limit is None else rows[: options.limit]


def lines_of(rows: list[TubeSample], options: Namespace, width: int | None = None) -> list[str]:
    """Return the table of these tubes."""
    columns = [
        column
        for column in columns_of(rows)
        if (not column.watched or options.watch is not None)
        and (column.key != "age" or options.age)
    ]
    return table(rows, columns, width)


def print_once(snapshot: Snapshot, options: Namespace) -> None:
    """Print the tubes as a table, or a line of JSON each."""
    rows = rows_of(snapshot, options)
    if options.json_lines:
        for row in rows:
            emit_value(as_dict(row, watched=False), options)
        return
    size = _terminal_size()
    emit("\n".join(lines_of(rows, options, None if size is None else size.columns)))


def print_again(snapshot: Snapshot, options: Namespace) -> None:
    """Print a snapshot after the last one, with its time."""
    if not snapshot.up:
        say(headline(snapshot))
        return
    rows = rows_of(snapshot, options)
    if options.json_lines:
        for row in rows:
            emit_value({"time": round(snapshot.time, 3), **as_dict(row, watched=True)}, options)
        return
    emit("\n".join([f"{_clock(snapshot)} {headline(snapshot)}", *lines_of(rows, options), ""]))


class Screen:
    """Show snapshots on a terminal, each in the place of the last one."""

    def __init__(self, options: Namespace) -> None:
        self._rows: list[TubeSample] = []  # of the last snapshot in which the server was up
        self._begun = False

    def show(self, snapshot: Snapshot, options: Namespace) -> None:
        """Show a snapshot; while the server is away, the tubes as they were."""
        size = _terminal_size() or os.terminal_size((80, 24))
        if snapshot.up:
            self._rows = rows_of(snapshot, options)
        room = max(size.lines - 4, 1)  # below: a line for what is left out, and one for the cursor
        shown = self._rows[:room]
        lines = [
            shortened(f"{_clock(snapshot)} {headline(snapshot)}", size.columns),
            *lines_of(shown, options, size.columns),
        ]
        if len(self._rows) > room:
            lines.append(f"and {len(self._rows) - room} more")
        clear = "\x1b[H" if self._begun else "\x1b[H\x1b[2J"
        self._begun = True
        # Each line clears its own rest: a screen that is cleared first flickers.
        emit(clear + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")


def _in_place(options: Namespace) -> bool:
    return not options.json_lines and _terminal_size() is not None and not is_dumb()


def _terminal_size() -> os.terminal_size | None:
    """Return the size of the terminal that standard output is; None if it is none."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno()) if sys.stdout else None
    except (OSError, ValueError):
        return None
    return size if size is not None and size.columns and size.lines else None


def _clock(snapshot: Snapshot) -> str:
    return time.strftime("%H:%M:%S", time.localtime(snapshot.time))


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "tube", type=tube, metavar="TUBE", nargs="?", help="the name of the tube (all tubes)"
    )
    parser.add_argument(
        "--watch",
        type=positive_seconds,
        metavar="SECONDS",
        nargs="?",
        const=WATCH_INTERVAL,
        help="show the table again and again, with rates; write --watch=5 for every 5 seconds "
        f"({WATCH_INTERVAL:g})",
    )
    add_tube_options(parser, "name")
    parser.add_argument("--limit", type=count, metavar="NUMBER", help="show so many tubes at most")
    parser.add_argument("--age", action="store_true", help="show the age of the next ready job")
    add_json_lines(parser)


def _is_of_one_tube(options: Namespace) -> bool:
    """Return whether the statistics of one tube are printed as JSON."""
    return options.tube is not None and options.watch is None


def _check(parser: ArgumentParser, options: Namespace) -> None:
    if options.tube is None:
        return
    if options.filter:
        parser.error("--filter chooses among all tubes: leave out the tube")
    if options.watch is None and (
        options.sums or options.reverse or options.age or options.limit or options.sort != "name"
    ):
        parser.error(
            "--sort, --reverse, --sum, --limit and --age are for a table: leave out the tube, or "
            "add --watch"
        )


VERBS = {
    "stats-tube": Verb(
        connected(
            stats_tube,
            each=lambda options: not _is_of_one_tube(options),
            with_away=lambda options: options.watch is not None,
        ),
        _add_arguments,
        _check,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
}
