"""The verbs about jobs: put, reserve, peek, delete and kick."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import IO

from ..client.client import Client
from ..errors import CommandFailed
from ..job import DEFAULT_PRIORITY, DEFAULT_TTR, Job
from ..protocol import arguments
from .connected import connected
from .converters import number, tube
from .exit_status import DONE, REFUSED
from .input import read_all
from .output import emit, emit_job
from .parser import add_id, add_ids, add_use
from .put_lines import put_lines, put_options
from .stdio import say
from .verbs import Verb

CONNECTION_CHECK_INTERVAL = 1.0
"""Seconds between two checks that the connection of a waiting reserve still exists."""

PUT_EPILOG = """\
The id of the new job is printed; with --lines, the ids of the jobs are printed,
one on each line, in the order of the lines.

examples:
  beanstalkt put "A job to work on"
  beanstalkt put -u mail -p 100 -d 60 - < letter.txt
  beanstalkt put -u urls --lines urls.txt
  beanstalkt put -- -a-body-that-begins-with-a-dash
"""

RESERVE_EPILOG = """\
The job is printed first, and then deleted, released or buried. Without an action
it returns to the ready jobs of its tube, unchanged, when the command ends.

examples:
  beanstalkt reserve delete
  beanstalkt reserve -t 10 -w mail -w news -i
  beanstalkt reserve release -p 10 -d 60
"""

RESERVE_JOB_EPILOG = """\
The job may be ready, delayed or buried, in any tube. It is printed first, and then
deleted, released or buried. Without an action it becomes ready when the command ends.

example:
  beanstalkt reserve-job 17 bury
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
    emit(str(await client.put(body, **put_options(options))))
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
        type=number(arguments.DELAY),
        default=0,
        metavar="SECONDS",
        help="how long the job waits before it is ready (%(default)s)",
    )
    parser.add_argument(
        "-t",
        "--ttr",
        type=number(arguments.TTR),
        default=DEFAULT_TTR,
        metavar="SECONDS",
        help="time to run: how long a worker may hold the job (%(default)s)",
    )
    parser.set_defaults(input=None)


def _check_put(parser: ArgumentParser, options: Namespace) -> None:
    """Open the input, in ``options.input``."""
    if (options.body is None) == (options.lines is None):
        parser.error("give either a body (- for standard input) or --lines FILE")
    # Before connecting: a missing file is wrong usage, and opening a named pipe may take long.
    try:
        if "-" in (options.body, options.lines):
            options.input = _open_stdin()
        elif options.lines is not None:
            options.input = open(options.lines, "rb", buffering=0)  # noqa: SIM115
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        name = "standard input" if options.lines in (None, "-") else options.lines
        parser.error(f"cannot read {name}: {reason}")


def _open_stdin() -> IO[bytes]:
    if sys.stdin is None:  # it was closed when the program started
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return open(0, "rb", buffering=0, closefd=False)


# --- reserve --------------------------------------------------------------------------------


async def reserve(client: Client, options: Namespace) -> None:
    """Reserve a job, print it, and carry out the action."""
    for name in options.watch:
        await client.watch(name)
    if options.ignore_default:
        await client.ignore(arguments.DEFAULT_TUBE)
    await settle(await wait_for_job(client, options.timeout), options)


async def wait_for_job(client: Client, timeout: int | None) -> Job:
    """Wait for a job, also while the server restarts, for up to ``--connect-timeout``.

    The client alone would wait for a lost server forever.
    """
    job = client.reserve(timeout)
    try:
        while not (await asyncio.wait([job], timeout=CONNECTION_CHECK_INTERVAL))[0]:
            # Returns at once while connected; raises if the client does not reconnect in time.
            await client.connect()
        return job.result()
    finally:
        job.cancel()


async def reserve_job(client: Client, options: Namespace) -> None:
    """Reserve the job with an id, print it, and carry out the action."""
    await settle(await client.reserve_job(options.id), options)


async def settle(job: Job, options: Namespace) -> None:
    """Print a reserved job, then carry out the action that the options name."""
    emit_job(job)
    if options.action == "delete":
        await job.delete()
    elif options.action == "release":
        await job.release(options.priority, options.delay or 0)
    elif options.action == "bury":
        await job.bury(options.priority)
    # Without an action the server makes the job ready again when the connection closes. A
    # release would be counted in the job's statistics, and would have to look up its priority.


def _add_reserve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-t",
        "--timeout",
        type=number(arguments.TIMEOUT),
        metavar="SECONDS",
        help="how long to wait for a job (forever)",
    )
    parser.add_argument(
        "-w",
        "--watch",
        type=tube,
        action="append",
        default=[],
        metavar="TUBE",
        help="a tube to reserve from, besides default; may be repeated",
    )
    parser.add_argument(
        "-i", "--ignore-default", action="store_true", help="reserve no job of the tube default"
    )
    _add_action(parser)


def _add_reserve_job_arguments(parser: ArgumentParser) -> None:
    add_id(parser)
    _add_action(parser)


def _add_action(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("delete", "release", "bury"),
        help="what to do with the job after it was printed",
    )
    parser.add_argument(
        "-p",
        "--priority",
        type=number(arguments.PRIORITY),
        help="release, bury: a new priority (the job keeps its own)",
    )
    parser.add_argument(
        "-d",
        "--delay",
        type=number(arguments.DELAY),
        metavar="SECONDS",
        help="release: how long the job waits before it is ready again (0)",
    )


def _check_reserve(parser: ArgumentParser, options: Namespace) -> None:
    _check_action(parser, options)
    if options.ignore_default and not set(options.watch) - {arguments.DEFAULT_TUBE}:
        parser.error("-i leaves no tube to reserve from: name one with -w")


def _check_action(parser: ArgumentParser, options: Namespace) -> None:
    if options.priority is not None and options.action not in ("release", "bury"):
        parser.error("-p goes with release or bury")
    if options.delay is not None and options.action != "release":
        parser.error("-d goes with release")


# --- peek -----------------------------------------------------------------------------------


async def peek(client: Client, options: Namespace) -> None:
    """Print the job with an id."""
    emit_job(await client.peek(options.id))


async def peek_ready(client: Client, options: Namespace) -> None:
    """Print the next ready job of a tube."""
    emit_job(await client.peek_ready(tube=options.use))


async def peek_delayed(client: Client, options: Namespace) -> None:
    """Print the next delayed job of a tube."""
    emit_job(await client.peek_delayed(tube=options.use))


async def peek_buried(client: Client, options: Namespace) -> None:
    """Print the next buried job of a tube."""
    emit_job(await client.peek_buried(tube=options.use))


# --- delete and kick ------------------------------------------------------------------------


async def delete(client: Client, options: Namespace) -> int:
    """Delete jobs by their ids."""
    return await each(client.delete, options.ids)


async def kick(client: Client, options: Namespace) -> None:
    """Kick jobs of a tube and print how many were kicked."""
    emit(str(await client.kick(options.bound, tube=options.use)))


async def kick_job(client: Client, options: Namespace) -> int:
    """Kick jobs by their ids."""
    return await each(client.kick_job, options.ids)


async def each(command: Callable[[int], Awaitable[None]], ids: list[int]) -> int:
    """Carry out a command for each id, also after it failed for another; return the exit status.

    A job for which the command failed is named on standard error.
    """
    status = DONE
    for job_id in ids:
        try:
            await command(job_id)
        except CommandFailed as error:
            say(f"job {job_id}: {error}")
            status = REFUSED
    return status


def _add_kick_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-b",
        "--bound",
        type=number(arguments.BOUND),
        default=1,
        metavar="NUMBER",
        help="how many jobs at most (%(default)s)",
    )
    add_use(parser)


VERBS = {
    "put": Verb(connected(put), _add_put_arguments, _check_put, epilog=PUT_EPILOG),
    "reserve": Verb(
        connected(reserve), _add_reserve_arguments, _check_reserve, epilog=RESERVE_EPILOG
    ),
    "reserve-job": Verb(
        connected(reserve_job),
        _add_reserve_job_arguments,
        _check_action,
        epilog=RESERVE_JOB_EPILOG,
    ),
    "peek": Verb(connected(peek), add_id),
    "peek-ready": Verb(connected(peek_ready), add_use),
    "peek-delayed": Verb(connected(peek_delayed), add_use),
    "peek-buried": Verb(connected(peek_buried), add_use),
    "delete": Verb(connected(delete), add_ids),
    "kick": Verb(connected(kick), _add_kick_arguments),
    "kick-job": Verb(connected(kick_job), add_ids),
}
