"""The verb top: a live view of a server in the terminal. The library for that is imported late."""

from __future__ import annotations

import logging
import os
import sys
import termios
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..admin import TubeFilter
from ..admin.several import Clients
from ..client.client import Client
from .connected import connected
from .converters import positive_seconds
from .exit_status import NO_SERVER
from .output import is_dumb
from .stats_tube import sampler_of
from .stdio import say
from .top_view import View
from .tube_options import add_tube_options
from .tube_table import COLUMNS, headline
from .verbs import Verb

HEADS = 50
"""Tubes at most whose next ready job is looked at, for its age."""

EPILOG = f"""\
Needs pip install 'beanstalkt[top]'; stats-tube --watch shows the same table and needs
no more. The keys are listed after ? is pressed: q quits, s sorts by the next column,
/ filters, space pauses.

With several servers, each has a row of its own for each tube; t adds up those of the same
name, and so does --sum.

Nothing is reserved or changed. For the age of the next job, the server sends the next
ready jobs of the {HEADS} tubes that have most of them.

columns:
{chr(10).join(f"  {each.title:6} {each.meaning}" for each in COLUMNS)}

examples:
  beanstalkt top
  beanstalkt --server a=URL --server b=URL top --sum
  beanstalkt top --sort in --filter 'mail.*' --interval 5
"""


async def top(client: Client | Clients, options: Namespace) -> int:
    """Show the servers until the user quits; return the exit status."""
    from .top_app import TopApp

    for name in ("COLUMNS", "LINES"):  # some shells export them: a size that never changes
        os.environ.pop(name, None)

    tubes = TubeFilter(options.filter or "*")
    sampler = await sampler_of(
        client, options.interval, options.response_timeout, tubes, HEADS, sums=options.sums
    )
    async with sampler.subscribe() as snapshots:
        first = await snapshots.__anext__()
        if not first.up:  # rather than a screen with nothing on it
            say(headline(first))
            return NO_SERVER
        with _terminal_restored(), _no_log():
            return await TopApp(sampler, View(options.sort, options.reverse)).show()


def on_terminal() -> bool:
    """Return whether the standard streams are a terminal.

    All of them: the library reads standard input, and writes to standard error.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """Restore the terminal's settings at the end, whatever becomes of the library."""
    before = termios.tcgetattr(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _no_log() -> Iterator[None]:
    """Log nothing meanwhile: it would be written across the screen, which shows the same."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=1.0,
        metavar="SECONDS",
        help="time between two looks at the server (%(default)g)",
    )
    add_tube_options(parser, "ready")


def _check(parser: ArgumentParser, options: Namespace) -> None:
    if find_spec("textual") is None:
        parser.error(
            "top needs the package textual: pip install 'beanstalkt[top]' "
            "(stats-tube --watch needs nothing more)"
        )
    if not on_terminal():
        parser.error("top needs a terminal: use stats-tube --watch elsewhere")
    if is_dumb():
        parser.error(
            "top needs a terminal that can do more than TERM says: use stats-tube --watch"
        )


VERBS = {
    "top": Verb(connected(top, each=True, with_away=True), _add_arguments, _check, epilog=EPILOG)
}
