"""The verbs about tubes and statistics: stats, list and pause."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..client.client import Client
from ..protocol import arguments
from .connected import connected
from .converters import number
from .output import emit_json
from .parser import add_id, add_tube
from .verbs import Verb


async def stats(client: Client, options: Namespace) -> None:
    """Print the statistics of the server."""
    emit_json(await client.stats())


async def stats_job(client: Client, options: Namespace) -> None:
    """Print the statistics of a job."""
    emit_json(await client.stats_job(options.id))


async def stats_tube(client: Client, options: Namespace) -> None:
    """Print the statistics of a tube."""
    emit_json(await client.stats_tube(options.tube))


async def list_tubes(client: Client, options: Namespace) -> None:
    """Print the names of all tubes."""
    emit_json(await client.list_tubes())


async def pause(client: Client, options: Namespace) -> None:
    """Pause a tube, or end its pause."""
    await client.pause_tube(options.tube, options.delay)


def _add_pause_arguments(parser: ArgumentParser) -> None:
    add_tube(parser)
    parser.add_argument(
        "-d",
        "--delay",
        type=number(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long; 0, which is the default, ends a pause",
    )


VERBS = {
    "stats": Verb(connected(stats)),
    "stats-job": Verb(connected(stats_job), add_id),
    "stats-tube": Verb(connected(stats_tube), add_tube),
    "list": Verb(connected(list_tubes)),
    "pause": Verb(connected(pause), _add_pause_arguments),
}
