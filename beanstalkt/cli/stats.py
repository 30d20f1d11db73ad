"""The verbs about tubes and statistics: stats, list-tubes and pause."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ..client.client import Client
from ..protocol import arguments
from .connected import connected
from .converters import whole_seconds
from .formats import add_json_lines, emit_value
from .parser import add_id, add_tube
from .verbs import Verb


async def stats(client: Client, options: Namespace) -> None:
    """Print the statistics of the server."""
    emit_value(await client.stats(), options)


async def stats_job(client: Client, options: Namespace) -> None:
    """Print the statistics of a job."""
    emit_value(await client.stats_job(options.id), options)


async def list_tubes(client: Any, options: Namespace) -> None:
    """Print the names of all tubes."""
    names = await client.list_tubes()
    for value in names if options.json_lines else [names]:
        emit_value(value, options)


async def pause(client: Client, options: Namespace) -> None:
    """Pause a tube, or end its pause."""
    await client.pause_tube(options.tube, options.delay)


def _add_stats_job_arguments(parser: ArgumentParser) -> None:
    add_id(parser)
    add_json_lines(parser)


def _add_pause_arguments(parser: ArgumentParser) -> None:
    add_tube(parser)
    parser.add_argument(
        "-d",
        "--delay",
        type=whole_seconds(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long; 0, which is the default, ends a pause",
    )


VERBS = {
    "stats": Verb(connected(stats), add_json_lines, epilog="example:\n  beanstalkt stats"),
    "stats-job": Verb(
        connected(stats_job),
        _add_stats_job_arguments,
        epilog="example:\n  beanstalkt stats-job 17",
    ),
    "list-tubes": Verb(
        connected(list_tubes),
        add_json_lines,
        epilog="example:\n  beanstalkt list-tubes",
    ),
    "pause": Verb(
        connected(pause),
        _add_pause_arguments,
        epilog="example:\n  beanstalkt pause mail -d 10m",
    ),
}
