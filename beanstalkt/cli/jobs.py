"""The verbs about jobs: put and peek; and those of `reserve`."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from ..client.client import Client
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR
from ..protocol import arguments
from .connected import Command, connected
from .converters import number, whole_seconds
from .exit_status import DONE
from .formats import add_job_formats, emit_job
from .input import open_input, read_all
from .output import emit_ids
from .parser import add_id, add_use
from .put_lines import put_lines, put_options
from .reserve import RESERVE_VERBS
from .verbs import Verb

PUT_EPILOG = """\
The id of the new job is printed; with --lines, the ids of the jobs are printed,
one on each line, in the order of the lines.

examples:
  beanstalkt put "A job to work on"
  beanstalkt put -u mail -p 100 -d 60 - < letter.txt
  beanstalkt put -u urls --lines urls.txt
  beanstalkt put -- -a-body-that-begins-with-a-dash
"""


# --- put ------------------------------------------------------------------------------------


async def put(client: Client, options: Namespace) -> int:
    """Put a job and print its id, or put a job for each line of a file."""
    if options.input is None:
        body = os.fsencode(options.body)  # exactly the bytes that the shell passed
    else:
        with options.input as file:
            if options.lines is not None:
                return await put_lines(client, file, options)
            body = await read_all(file.fileno())
    emit_ids([await client.put(body, **put_options(options))])
    return DONE


def _add_put_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("body", nargs="?", help="the job's body; - reads it from standard input")
    parser.add_argument(
        "--lines",
        metavar="FILE",
        help="put each line of FILE as a job, without its line end; an empty line "
        "is a job with an empty body; - is standard input",
    )
    parser.add_argument(
        "-p",
        "--priority",
        type=number(arguments.PRIORITY),
        default=DEFAULT_PRIORITY,
        help="0 is the most urgent (%(default)s)",
    )
    add_use(parser)
    parser.add_argument(
        "-d",
        "--delay",
        type=whole_seconds(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long the job waits before it is ready (%(default)s)",
    )
    parser.add_argument(
        "-t",
        "--ttr",
        type=whole_seconds(arguments.TTR),
        default=DEFAULT_TTR,
        metavar="SECONDS",
        help="time to run: how long a worker may hold the job (%(default)s)",
    )
    parser.set_defaults(input=None)


def _check_put(parser: ArgumentParser, options: Namespace) -> None:
    """Open the input, in ``options.input``."""
    if (options.body is None) == (options.lines is None):
        parser.error("give either a body (- for standard input) or --lines FILE")
    if options.lines is not None or options.body == "-":
        options.input = open_input(parser, "-" if options.lines is None else options.lines)


def _waits_for_input(options: Namespace) -> bool:
    return options.input is not None


# --- peek -----------------------------------------------------------------------------------


async def peek(client: Client, options: Namespace) -> None:
    """Print the job with an id."""
    emit_job(await client.peek(options.id), options)


async def peek_ready(client: Client, options: Namespace) -> None:
    """Print the next ready job of a tube."""
    emit_job(await client.peek_ready(tube=options.use), options)


async def peek_delayed(client: Client, options: Namespace) -> None:
    """Print the next delayed job of a tube."""
    emit_job(await client.peek_delayed(tube=options.use), options)


async def peek_buried(client: Client, options: Namespace) -> None:
    """Print the next buried job of a tube."""
    emit_job(await client.peek_buried(tube=options.use), options)


def _add_peek_arguments(parser: ArgumentParser) -> None:
    add_id(parser)
    add_job_formats(parser)


def _add_peek_tube_arguments(parser: ArgumentParser) -> None:
    add_use(parser)
    add_job_formats(parser)


def _peek_verb(state: str, run: Command) -> Verb:
    return Verb(
        connected(run),
        _add_peek_tube_arguments,
        epilog=f"example:\n  beanstalkt peek-{state} -u mail",
    )


VERBS = {
    "put": Verb(
        connected(put, outlives_connection=_waits_for_input),
        _add_put_arguments,
        _check_put,
        epilog=PUT_EPILOG,
    ),
    **RESERVE_VERBS,
    "peek": Verb(
        connected(peek),
        _add_peek_arguments,
        epilog="example:\n  beanstalkt peek 17",
    ),
    "peek-ready": _peek_verb("ready", peek_ready),
    "peek-delayed": _peek_verb("delayed", peek_delayed),
    "peek-buried": _peek_verb("buried", peek_buried),
}
