"""The verbs reserve and reserve-job: jobs are reserved, printed, and then settled as asked.

Each job that was printed is settled as asked, also when the user interrupts the command or no more
jobs come in time. Where that cannot be done, standard error says so and names the job.
"""

from __future__ import annotations

import asyncio
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable

from ..client.client import Client
from ..client.timing import DEADLINE_PAUSE
from ..errors import (
    BeanstalkException,
    CommandFailed,
    ConnectionLost,
    DeadlineSoon,
    TimedOut,
)
from ..job import Job
from ..protocol import arguments
from .connected import connected, server_of
from .converters import count, number, tube, whole_seconds
from .exit_status import DONE, exit_status_of
from .formats import add_job_formats, emit_job
from .parser import add_id
from .stdio import say
from .verbs import Verb

CONNECTION_CHECK_INTERVAL = 1.0
"""Seconds between two checks that the connection of a waiting reserve still exists."""

HELD_WAIT = 1
"""Seconds that a single reserve waits at the most while jobs are held."""

RESERVE_EPILOG = """\
The job is printed first, and then deleted, released or buried. Without an action
it returns to the ready jobs of its tube, unchanged, when the command ends.

With -n, each job is deleted or buried before the next one is reserved. They are
released only at the end: otherwise the same job would come again.

examples:
  beanstalkt reserve delete
  beanstalkt reserve -t 10 -w mail -w news -i
  beanstalkt reserve release -p 10 -d 60
  beanstalkt reserve -n 100 -t 0 --json-lines delete > jobs
  beanstalkt reserve --raw delete > body
"""

RESERVE_JOB_EPILOG = """\
The job may be ready, delayed or buried, in any tube. It is printed first, and then
deleted, released or buried. Without an action it becomes ready when the command ends.

example:
  beanstalkt reserve-job 17 bury
"""

_DONE = {"delete": "deleted", "release": "released", "bury": "buried"}


async def reserve(client: Client, options: Namespace) -> int:
    """Reserve jobs one after another, print each, and carry out the action for each."""
    for name in options.watch:
        await client.watch(name)
    if options.ignore_default:
        await client.ignore(arguments.DEFAULT_TUBE)
    printed = PrintedJobs(options)
    try:
        while printed.count < options.number and not printed.stopped:
            await printed.add(await next_job(client, options.timeout, printed.held))
    finally:
        try:
            await printed.settle_held()
        finally:
            if 1 < options.number != printed.count:
                say(f"{printed.count} of {options.number} jobs were reserved and printed")
    return printed.status


async def reserve_job(client: Client, options: Namespace) -> int:
    """Reserve the job with an id, print it, and carry out the action."""
    printed = PrintedJobs(options)
    await printed.add(await client.reserve_job(options.id))
    await printed.settle_held()
    return printed.status


class PrintedJobs:
    """Print reserved jobs, and carry out for each the action that the options name.

    :ivar count: how many jobs were printed
    :ivar held: those of them that are still reserved
    :ivar stopped: whether no more jobs are to be reserved, because the connection was lost
    :ivar status: the exit status
    """

    def __init__(self, options: Namespace) -> None:
        self.count = 0
        self.held: list[Job] = []
        self.stopped = False
        self.status = DONE
        self._options = options

    async def add(self, job: Job) -> None:
        """Print a reserved job. Delete or bury it at once; keep it reserved otherwise."""
        emit_job(job, self._options)
        self.count += 1
        if self._options.action in ("delete", "bury"):
            await self._settle(job)
        else:
            self.held.append(job)

    async def settle_held(self) -> None:
        """Release the jobs that are still reserved, if that is the action."""
        # Without an action the server makes the jobs ready again when the connection closes. A
        # release would be counted in their statistics, and would have to look up the priority.
        while self.held:
            job = self.held.pop(0)
            if self._options.action is not None:
                await self._settle(job)

    async def _settle(self, job: Job) -> None:
        """Carry out the action, also if the user interrupts the command meanwhile."""
        settled = asyncio.ensure_future(self._act(job))
        try:
            await asyncio.wait([settled])
        except asyncio.CancelledError:
            try:
                await asyncio.wait([settled])  # the client limits the time for a reply
            finally:
                self._report(job, settled)
            raise
        self._report(job, settled)

    def _act(self, job: Job) -> Awaitable[None]:
        options = self._options
        if options.action == "delete":
            return job.delete()
        if options.action == "bury":
            return job.bury(options.priority)
        return job.release(options.priority, options.delay or 0)

    def _report(self, job: Job, settled: asyncio.Future[None]) -> None:
        """Say so if the job was not settled, or may not have been."""
        done = _DONE[self._options.action]
        if not settled.done():  # interrupted twice
            settled.cancel()
            say(f"job {job.id} was printed, and perhaps not {done}: interrupted")
            return
        error = settled.exception()
        if error is None:
            return
        if not isinstance(error, BeanstalkException):
            raise error
        perhaps = "perhaps " if isinstance(error, ConnectionLost) and error.sent else ""
        why = f"{error}{server_of(error, self._options)}"
        say(f"job {job.id} was printed, and {perhaps}not {done}: {why}")
        if perhaps:
            say("the server may have carried out the command before the connection was lost")
        self.stopped = self.stopped or not isinstance(error, CommandFailed)
        self.status = max(self.status, exit_status_of(error))


async def next_job(client: Client, timeout: int | None, held: list[Job]) -> Job:
    """Wait for the next job, and meanwhile keep those that are held: touch them in time.

    The server answers nothing else while a reserve waits. So where jobs are held, which an
    interrupt must be able to settle, each reserve is a short one.
    """
    loop = asyncio.get_running_loop()
    ends = math.inf if timeout is None else loop.time() + timeout
    if held:
        timeout = HELD_WAIT if timeout is None else min(timeout, HELD_WAIT)
    while True:
        try:
            return await wait_for_job(client, timeout)
        except (DeadlineSoon, TimedOut) as error:
            if not held or loop.time() >= ends:
                raise
            if isinstance(error, DeadlineSoon):
                await touch_all(held)
                await asyncio.sleep(DEADLINE_PAUSE)
            timeout = max(0, math.ceil(min(ends - loop.time(), HELD_WAIT)))


async def touch_all(jobs: list[Job]) -> None:
    """Start the time to run of these jobs again; skip those whose time is over already."""
    results = await asyncio.gather(*(job.touch() for job in jobs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, CommandFailed):
            raise result


async def wait_for_job(client: Client, timeout: int | None) -> Job:
    """Wait for a job, also while the server restarts, for up to ``--connect-timeout``.

    The client alone would wait for a lost server forever. Raises ConnectionLost also if the
    timeout passed without a word of the server that no job was ready.
    """
    job = client.reserve(timeout)
    try:
        while not (await asyncio.wait([job], timeout=CONNECTION_CHECK_INTERVAL))[0]:
            # Returns at once while connected; raises if the client does not reconnect in time.
            await client.connect()
        return job.result()
    except TimedOut as error:
        if error.status is None:  # the client says so, not the server
            raise ConnectionLost(
                f"{error}: no server answered, so whether there is a job is not known",
                command=error.command,
            ) from error
        raise
    finally:
        job.cancel()


def _add_reserve_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-t",
        "--timeout",
        type=whole_seconds(arguments.TIMEOUT),
        metavar="SECONDS",
        help="how long to wait for a job (forever)",
    )
    parser.add_argument(
        "-n",
        "--number",
        type=count,
        default=1,
        metavar="NUMBER",
        help="how many jobs to reserve, one after another; -t is the time to wait for each "
        "(%(default)s)",
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
    add_job_formats(parser)
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
        type=whole_seconds(arguments.DELAY),
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


RESERVE_VERBS = {
    "reserve": Verb(
        connected(reserve, outlives_connection=True),
        _add_reserve_arguments,
        _check_reserve,
        own_timeout=True,
        epilog=RESERVE_EPILOG,
    ),
    "reserve-job": Verb(
        connected(reserve_job),
        _add_reserve_job_arguments,
        _check_action,
        epilog=RESERVE_JOB_EPILOG,
    ),
}
"""The verbs of this module, which are listed among those about jobs."""
