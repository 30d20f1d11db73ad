"""Putting each line of a file as a job: ``put --lines``."""

from __future__ import annotations

from argparse import Namespace
from contextlib import nullcontext
from typing import IO, Any

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost
from .connected import server_of
from .exit_status import DONE, exit_status_of
from .input import Lines, read_some
from .output import emit_ids, progress_bar, ranges
from .stdio import say


async def put_lines(client: Client, file: IO[bytes], options: Namespace) -> int:
    """Put the lines of a file as they arrive, chunk by chunk; return the exit status.

    A line of a slow writer is put at once, and of a large file one chunk is in memory.
    """
    lines = Lines()
    done = 0
    chunk = b"-"
    bar = progress_bar(file)
    # Compare the bar with None: a bar of unknown size raises TypeError where it is used as a bool.
    with nullcontext() if bar is None else bar:
        while chunk:
            chunk = await read_some(file.fileno())
            bodies = lines.feed(chunk) if chunk else lines.end()
            ids, error = await put_bodies(client, bodies, options)
            with nullcontext() if bar is None else bar.external_write_mode():
                emit_ids(ids)
            if error is not None:
                return report_failure(error, server_of(error, options), ids, done)
            done += len(ids)
            if bar is not None:
                bar.update(len(chunk))
    return DONE


async def put_bodies(
    client: Client, bodies: list[bytes], options: Namespace
) -> tuple[list[int | None], BeanstalkException | None]:
    """Put jobs; return the id of each (None if it was not put), and the error that stopped it."""
    try:
        return [*await client.put_many(bodies, **put_options(options))], None
    except BeanstalkException as error:
        return error.ids or [], error


def report_failure(
    error: BeanstalkException, server: str, ids: list[int | None], done: int
) -> int:
    """Print which lines were not put; return the exit status.

    :param server: the end of the error's message, which names the server

    The first `done` lines were put, and `ids` are those of the lines after them.
    """
    # The part in brackets is written for the authors of programs.
    reason = str(error).partition(" (put_many:")[0] + server
    failed = [done + place for place, job_id in enumerate(ids, 1) if job_id is None]
    if failed:
        perhaps = " perhaps" if isinstance(error, ConnectionLost) and error.sent else ""
        lines = f"line {failed[0]} was" if len(failed) == 1 else f"lines {ranges(failed)} were"
        say(f"{lines}{perhaps} not put: {reason}")
    else:
        say(reason)
    say(f"no line after line {done + len(ids)} was put; all other lines before that were")
    return exit_status_of(error)


def put_options(options: Namespace) -> dict[str, Any]:
    """Return the arguments of `Client.put` besides the body."""
    return {
        "priority": options.priority,
        "delay": options.delay,
        "ttr": options.ttr,
        "tube": options.use,
    }
