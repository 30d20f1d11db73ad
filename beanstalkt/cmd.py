"""The command line: ``python -m beanstalkt.cmd VERB``, also installed as ``beanstalkt``.

Results go to standard output, all else to standard error. The exit status is 0 when it is
done, 1 when the server said no, 2 for wrong usage, 69 without a server, 130 when interrupted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, NoReturn

from .cli import parser as arguments
from .cli.input import Lines, read_all, read_some
from .cli.stdio import emit, flush, open_closed, say
from .client.client import Client
from .errors import (
    BeanstalkException,
    CommandFailed,
    ConnectionLost,
    InvalidArgument,
    UnexpectedResponse,
)
from .job import Job
from .protocol.address import Address
from .protocol.arguments import DEFAULT_TUBE

if TYPE_CHECKING:
    from tqdm import tqdm

DONE = 0
REFUSED = 1
USAGE = 2
NO_SERVER = 69  # EX_UNAVAILABLE of sysexits.h
INTERRUPTED = 130  # as a shell reports SIGINT
PIPE_CLOSED = 141  # as a shell reports SIGPIPE

LOOK_AROUND = 1.0
"""Seconds between two looks of a waiting reserve at whether the server is still there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the words after the program's name say, and returns the exit status.

    Raises SystemExit, as argparse does, after ``-h`` and on wrong usage.
    """
    open_closed()
    try:
        try:
            options = arguments.build().parse_args(argv)
            options.check(options)
            status: int = options.main(options) if "main" in options else talk(options)
            return status
        finally:
            flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return REFUSED


def talk(options: Namespace) -> int:
    """Carries out a verb over a connection of its own, and returns the exit status."""
    logging.basicConfig(format="beanstalkt: %(message)s")
    try:
        return asyncio.run(_talk(options))
    except BeanstalkException as error:
        say(str(error))
        if isinstance(error, ConnectionLost) and error.sent:
            say("the server may have done it all the same")
        return status_of(error)


async def _talk(options: Namespace) -> int:
    async with connection(options) as client:
        return await VERBS[options.verb](client, options) or DONE


def connection(options: Namespace) -> Client:
    """A client for the server that the options or the environment name. Raises InvalidArgument."""
    url = options.server
    if url is None:
        # Also when it is set but empty, as scripts do to unset it.
        url = os.environ.get("BEANSTALKD_URL") or str(Address())
        try:
            Address.parse(url)
        except InvalidArgument as error:
            raise InvalidArgument(f"BEANSTALKD_URL: {error}") from None
    return Client.from_url(url, connect_timeout=options.connect_timeout)


def status_of(error: BeanstalkException) -> int:
    """The exit status that an error ends in."""
    if isinstance(error, InvalidArgument):
        return USAGE
    # A peer that does not speak the protocol is no server either.
    return NO_SERVER if isinstance(error, (ConnectionLost, UnexpectedResponse)) else REFUSED


# --- output ---------------------------------------------------------------------------------


def emit_ids(ids: list[int | None]) -> None:
    """Prints the ids of the jobs that went in, one a line."""
    known = [str(job_id) for job_id in ids if job_id is not None]
    if known:
        emit("\n".join(known))


def ranges(numbers: list[int]) -> str:
    """Rising numbers in short: ``"2-4, 9"`` for 2, 3, 4 and 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)


def as_json(value: Any) -> str:
    """A result as it is printed. All but ASCII is escaped: a body must not steer a terminal."""
    return json.dumps(value, indent=2)


def readable(job: Job) -> dict[str, Any]:
    """A job with its body as text, in base64 where it is not UTF-8."""
    try:
        return {"body": job.body.decode(), "id": job.id}
    except UnicodeDecodeError:
        body = base64.b64encode(job.body).decode()
        return {"body": body, "encoding": "base64", "id": job.id}


def progress_bar(file: IO[bytes]) -> tqdm[NoReturn] | None:
    """A bar for what is read, where somebody watches: on standard error, if a terminal."""
    if not sys.stderr.isatty() or file.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:  # the extra "cli" is not installed
        return None
    size = os.fstat(file.fileno()).st_size or None  # a pipe has none
    return tqdm(total=size, unit="B", unit_scale=True, file=sys.stderr)


# --- verbs ----------------------------------------------------------------------------------


async def put(client: Client, options: Namespace) -> int:
    if options.input is None:
        body = os.fsencode(options.body)  # the very bytes that the shell gave
    else:
        with options.input as file:
            if options.lines is not None:
                return await put_lines(client, file, options)
            body = await read_all(file.fileno())
    emit(str(await client.put(body, **how_to_put(options))))
    return DONE


async def put_lines(client: Client, file: IO[bytes], options: Namespace) -> int:
    """Puts what there is to read, again and again: a slow writer's line does not wait, and of
    a large file one chunk is in memory."""
    lines = Lines()
    done = 0
    chunk = b"-"
    bar = progress_bar(file)
    # "is None" throughout: a bar for an unknown size has no truth.
    with nullcontext() if bar is None else bar:
        while chunk:
            chunk = await read_some(file.fileno())
            bodies = lines.feed(chunk) if chunk else lines.end()
            ids, error = await put_some(client, bodies, options)
            with nullcontext() if bar is None else bar.external_write_mode():
                emit_ids(ids)
            if error is not None:
                return not_all_put(error, ids, done)
            done += len(ids)
            if bar is not None:
                bar.update(len(chunk))
    return DONE


async def put_some(
    client: Client, bodies: list[bytes], options: Namespace
) -> tuple[list[int | None], BeanstalkException | None]:
    """The ids of what went in, None for what did not, and what stopped it."""
    try:
        return [*await client.put_many(bodies, **how_to_put(options))], None
    except BeanstalkException as error:
        return error.ids or [], error


def not_all_put(error: BeanstalkException, ids: list[int | None], done: int) -> int:
    """Says which lines did not go in, when `done` had and then `ids` came. The exit status."""
    # What stands in brackets is meant for a program.
    reason = str(error).partition(" (put_many:")[0]
    failed = [done + place for place, job_id in enumerate(ids, 1) if job_id is None]
    if failed:
        maybe = " perhaps" if isinstance(error, ConnectionLost) and error.sent else ""
        say(f"line {ranges(failed)} was{maybe} not put: {reason}")
    else:
        say(reason)
    say(f"no line behind {done + len(ids)} was put; all others before that were")
    return status_of(error)


def how_to_put(options: Namespace) -> dict[str, Any]:
    return {
        "priority": options.priority,
        "delay": options.delay,
        "ttr": options.ttr,
        "tube": options.use,
    }


async def reserve(client: Client, options: Namespace) -> None:
    for tube in options.watch:
        await client.watch(tube)
    if options.ignore_default:
        await client.ignore(DEFAULT_TUBE)
    await settle(await wait_for_job(client, options.timeout), options)


async def wait_for_job(client: Client, timeout: int | None) -> Job:
    """A reserve that outlives a restart of the server, but not its end.

    The client itself would wait for ever for a lost server to come back.
    """
    job = client.reserve(timeout)
    try:
        while not (await asyncio.wait([job], timeout=LOOK_AROUND))[0]:
            # At once while connected; raises when the connection is not back in time.
            await client.connect()
        return job.result()
    finally:
        job.cancel()


async def reserve_job(client: Client, options: Namespace) -> None:
    await settle(await client.reserve_job(options.id), options)


async def settle(job: Job, options: Namespace) -> None:
    """Shows a reserved job, then does with it what was asked."""
    emit(as_json(readable(job)))
    if options.action == "delete":
        await job.delete()
    elif options.action == "release":
        await job.release(options.priority, options.delay or 0)
    elif options.action == "bury":
        await job.bury(options.priority)
    # Without an action the server makes it ready again when the connection closes. A release
    # would count as one in the job's stats, and would need its priority looked up.


async def peek(client: Client, options: Namespace) -> None:
    emit(as_json(readable(await client.peek(options.id))))


async def peek_ready(client: Client, options: Namespace) -> None:
    emit(as_json(readable(await client.peek_ready(tube=options.use))))


async def peek_delayed(client: Client, options: Namespace) -> None:
    emit(as_json(readable(await client.peek_delayed(tube=options.use))))


async def peek_buried(client: Client, options: Namespace) -> None:
    emit(as_json(readable(await client.peek_buried(tube=options.use))))


async def delete(client: Client, options: Namespace) -> int:
    return await each(client.delete, options.ids)


async def kick(client: Client, options: Namespace) -> None:
    emit(str(await client.kick(options.bound, tube=options.use)))


async def kick_job(client: Client, options: Namespace) -> int:
    return await each(client.kick_job, options.ids)


async def each(command: Callable[[int], Awaitable[None]], ids: list[int]) -> int:
    """One command for each job; a job that is gone does not stop the others."""
    status = DONE
    for job_id in ids:
        try:
            await command(job_id)
        except CommandFailed as error:
            say(f"job {job_id}: {error}")
            status = REFUSED
    return status


async def stats(client: Client, options: Namespace) -> None:
    emit(as_json(await client.stats()))


async def stats_job(client: Client, options: Namespace) -> None:
    emit(as_json(await client.stats_job(options.id)))


async def stats_tube(client: Client, options: Namespace) -> None:
    emit(as_json(await client.stats_tube(options.tube)))


async def list_tubes(client: Client, options: Namespace) -> None:
    emit(as_json(await client.list_tubes()))


async def pause(client: Client, options: Namespace) -> None:
    await client.pause_tube(options.tube, options.delay)


VERBS: dict[str, Callable[[Client, Namespace], Awaitable[int | None]]] = {
    "put": put,
    "reserve": reserve,
    "reserve-job": reserve_job,
    "peek": peek,
    "peek-ready": peek_ready,
    "peek-delayed": peek_delayed,
    "peek-buried": peek_buried,
    "delete": delete,
    "kick": kick,
    "kick-job": kick_job,
    "stats": stats,
    "stats-job": stats_job,
    "stats-tube": stats_tube,
    "list": list_tubes,
    "list-tubes": list_tubes,
    "pause": pause,
}


if __name__ == "__main__":
    sys.exit(main())
