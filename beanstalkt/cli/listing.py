"""The verbs that show jobs without moving them: list and tail."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack

from .. import admin
from ..admin.record import JobRecord
from ..admin.several import Clients
from ..admin.tailing import INTERVAL
from ..client.client import Client
from ..errors import BeanstalkException
from . import job_table, selection_options
from .connected import connected
from .converters import positive_seconds
from .exit_status import DONE, INTERRUPTED, NO_SERVER
from .output import emit
from .progress import beside_progress, interruptible, shown_progress
from .stats import list_tubes
from .stdio import say
from .verbs import Verb

LINES = 100
"""Lines to print in one go. What is there is printed some times a second all the same."""

LIST_EPILOG = """\
With no argument, the names of the tubes are printed, as by list-tubes. With a tube,
--all or an option that says which jobs, those jobs are printed: in a table on a
terminal, else as JSON, a line for each.

Jobs in every state are found, without being moved or reserved, by looking at one id
after another. So the list is not of one moment: what was looked at is told on
standard error. On a server whose ids have gone far, --since-id is quicker.

examples:
  beanstalkt list
  beanstalkt list mail --state buried --older-than 1h
  beanstalkt list --all --text alice@example.org --limit 10
  beanstalkt list mail --json-lines | jq .body
"""

TAIL_EPILOG = """\
New jobs of the tubes, or of all tubes, are printed as they come, in whatever state
they are, without being reserved: in a table on a terminal, else as JSON, a line for
each. It looks at new ids at intervals. A job that was put and deleted between two
looks is not seen; how many these were is told at the end.

examples:
  beanstalkt tail mail
  beanstalkt tail --text '"error"' --json-lines >> errors.jsonl
"""


class RecordPrinter:
    """Print records as lines, several at a time.

    :param tubes: whether the table shows the names of tubes
    :param servers: the names of the servers, if there are several
    """

    def __init__(self, options: Namespace, *, tubes: bool, servers: Iterable[str] = ()) -> None:
        self._tubes = tubes
        self._id_width = job_table.id_width(servers)
        self._lines: list[str] = []
        self._width = 0  # of the table; 0: no table
        if not options.json_lines and sys.stdout is not None and sys.stdout.isatty():
            self._width = shutil.get_terminal_size().columns
            self._lines.append(
                job_table.heading(tubes=tubes, bodies=options.bodies, id_width=self._id_width)
            )

    def add(self, record: JobRecord) -> None:
        """Print a record soon. Raises OSError if standard output cannot be written."""
        if self._width:
            row = job_table.row(record, self._width, tubes=self._tubes, id_width=self._id_width)
            self._lines.append(row)
        else:
            self._lines.append(json.dumps(record.as_dict()))
        if len(self._lines) >= LINES:
            self.flush()

    def flush(self) -> None:
        """Print what has come."""
        if self._lines:
            lines, self._lines = self._lines, []
            with beside_progress():
                emit("\n".join(lines))


async def list_(client: Client | Clients, options: Namespace) -> int:
    """Print the jobs of a selection, or the names of all tubes."""
    if not options.lists_jobs:
        await list_tubes(client, options)
        return DONE
    printer = _printer(client, options)
    with interruptible(), shown_progress() as shown:

        def progress(told: admin.Progress) -> None:
            printer.flush()
            if shown is not None:
                shown(told)

        scan = admin.list_jobs(
            client,
            options.selection,
            bodies=options.bodies,
            limit=options.limit,
            progress=progress,
        )
        try:
            status = await _print_all(scan, printer)
        except BeanstalkException:
            _tell(scan, client)
            raise
    _tell(scan, client)
    return status


async def _print_all(scan: admin.Scan | admin.Scans, printer: RecordPrinter) -> int:
    """Print the records of a scan, also those that came before it failed."""
    try:
        async for record in scan:
            printer.add(record)
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        printer.flush()
    return DONE


def _printer(client: Client | Clients, options: Namespace) -> RecordPrinter:
    servers = client if isinstance(client, Mapping) else ()
    return RecordPrinter(options, tubes=len(options.tubes) != 1, servers=servers)


def _tell(scan: admin.Scan | admin.Scans, client: Client | Clients) -> None:
    """Tell on standard error what was looked at, of each server."""
    if isinstance(scan, admin.Scan):
        for line in told_of(scan):
            say(line)
        return
    for name in client if isinstance(client, Mapping) else ():
        lines = told_of(scan.scans[name]) if name in scan.scans else ["no id was looked at"]
        for line in lines:
            say(f"{name}: {line}")


def told_of(scan: admin.Scan) -> Iterator[str]:
    """Yield what is to be told of a scan: what it looked at, and what it cannot know."""
    found = f"{scan.matched:,} {'job' if scan.matched == 1 else 'jobs'}"
    if scan.range is None:
        none = "there was none to look at" if scan.complete else "no id was looked at"
        yield f"{found}: {none}"
        return
    first, last = scan.range
    yield f"{found} among the ids {first:,} to {last:,}; jobs put since are not among them"
    if scan.vanished:
        yield f"{scan.vanished:,} more were gone before their bodies were read"
    yield from scan.notes


async def tail(client: Client | Clients, options: Namespace) -> int:
    """Print new jobs as they come."""
    followed = admin.tail(
        client, options.selection, bodies=options.bodies, interval=options.interval
    )
    printer = _printer(client, options)
    printer.flush()
    async with AsyncExitStack() as stack:
        if isinstance(followed, admin.Tails):
            followed.on_lost = _tell_lost
            stack.push_async_callback(followed.aclose)
        status = await _follow(followed, printer, options.limit)
    if followed.missed:
        say(f"{followed.missed:,} jobs were gone before they were seen")
    if isinstance(followed, admin.Tails) and followed.lost and status == DONE:
        return NO_SERVER
    return status


async def _follow(
    followed: admin.Tail | admin.Tails, printer: RecordPrinter, left: int | None
) -> int:
    """Print new jobs until there were `left` of them (None: no limit); return the exit status."""
    with interruptible():
        try:
            while left != 0:
                printer.add(await followed.__anext__())
                printer.flush()
                left = None if left is None else left - 1
        except asyncio.CancelledError:
            return INTERRUPTED
    return DONE


def _tell_lost(name: str, error: BeanstalkException) -> None:
    say(f"{name} is not followed any more: {error}")


def _add_list_arguments(parser: ArgumentParser) -> None:
    selection_options.add_tubes(parser)
    parser.add_argument("--all", action="store_true", help="the jobs of all tubes")
    _add_formats(parser)
    selection_options.add_to(parser)


def _add_tail_arguments(parser: ArgumentParser) -> None:
    selection_options.add_tubes(parser)
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=INTERVAL,
        metavar="SECONDS",
        help="time between two looks for new jobs (%(default)s)",
    )
    _add_formats(parser)
    selection_options.add_to(parser)


def _add_formats(parser: ArgumentParser) -> None:
    selection_options.add_limit(parser)
    parser.add_argument(
        "--no-body", dest="bodies", action="store_false", help="leave out the bodies"
    )
    parser.add_argument(
        "--json-lines", action="store_true", help="print JSON, a line for each, on a terminal too"
    )


def _check_list(parser: ArgumentParser, options: Namespace) -> None:
    selection_options.join_tubes(options)
    chosen = selection_options.given(options)
    options.lists_jobs = bool(options.tubes or options.all or chosen)
    if options.all and options.tubes:
        parser.error("--all means the jobs of all tubes: name none besides")
    if not options.lists_jobs and (options.limit is not None or not options.bodies):
        parser.error("--limit and --no-body go with a TUBE, or with --all")
    selection_options.check(parser, options)


VERBS = {
    "list": Verb(
        connected(
            list_,
            each=lambda options: options.lists_jobs,
        ),
        _add_list_arguments,
        _check_list,
        epilog=LIST_EPILOG,
    ),
    "tail": Verb(
        connected(tail, each=True),
        _add_tail_arguments,
        selection_options.check,
        epilog=TAIL_EPILOG,
    ),
}
