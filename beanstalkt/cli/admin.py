"""The verbs that change jobs where they are: clear, delete, kick and kick-job."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from .. import admin
from ..admin.kicking import KICKABLE
from ..client.client import Client
from ..errors import CommandFailed, ConnectionLost
from ..protocol import arguments
from . import confirm, selection_options
from .changing import change_jobs
from .connected import connected
from .converters import number, tube
from .exit_status import DONE, NO_SERVER, REFUSED
from .output import emit
from .parser import add_ids, add_use
from .stdio import say
from .verbs import Verb

CLEAR_EPILOG = """\
All jobs of the tubes are deleted, but those that workers have reserved; or those
that the options name. Nothing is kicked in order to be deleted, and no job of
another tube or state is touched, whatever others do meanwhile: with --state, each
job is reserved just before it is deleted. The number of deleted jobs is printed.

examples:
  beanstalkt clear mail
  beanstalkt clear mail news --state buried --yes
  beanstalkt clear mail --older-than 7d --dry-run
"""

DELETE_EPILOG = """\
Jobs are deleted by their ids; or all those are that the options name, of all tubes
if no tube is named. Then their number is printed, and what is said of clear holds.

examples:
  beanstalkt delete 17 18
  beanstalkt delete -u mail --state buried --text alice@example.org
  beanstalkt delete --priority 100- --limit 1000 --yes
"""

KICK_EPILOG = """\
Up to --bound jobs are kicked: buried ones if there is any, else delayed ones. --all
kicks all buried jobs, or if there is none all delayed ones. With an option that says
which jobs, all of those are kicked, buried and delayed ones, or up to --bound of them.
The number of jobs that were kicked is printed.

examples:
  beanstalkt kick mail -b 10
  beanstalkt kick mail --all
  beanstalkt kick mail --state delayed --older-than 1h --dry-run
"""


# --- clear ----------------------------------------------------------------------------------


async def clear(client: Client, options: Namespace) -> int:
    """Delete the jobs of tubes."""
    operation = partial(admin.clear, client, options.selection, limit=options.limit)
    return await change_jobs(options, "Delete", _where(options), operation)


def _add_clear_arguments(parser: ArgumentParser) -> None:
    selection_options.add_tubes(parser)
    confirm.add_to(parser)
    selection_options.add_limit(parser)
    selection_options.add_to(parser, states=selection_options.SETTLED)


def _check_clear(parser: ArgumentParser, options: Namespace) -> None:
    selection_options.join_tubes(options)
    if not options.tubes:
        parser.error("name the tubes whose jobs are to be deleted: TUBE, or --tube TUBE")
    selection_options.check(parser, options)
    confirm.check(parser, options)


# --- delete ---------------------------------------------------------------------------------


async def delete(client: Client, options: Namespace) -> int:
    """Delete jobs by their ids, or those of a selection."""
    if options.ids:
        return await each(client.delete, options.ids)
    operation = partial(admin.delete, client, options.selection, limit=options.limit)
    return await change_jobs(options, "Delete", _where(options), operation)


def _add_delete_arguments(parser: ArgumentParser) -> None:
    add_ids(parser, "*")
    confirm.add_to(parser)
    selection_options.add_limit(parser)
    selection_options.add_to(parser, states=selection_options.SETTLED)


def _check_delete(parser: ArgumentParser, options: Namespace) -> None:
    chosen = bool(options.tubes) or selection_options.given(options)
    if options.ids:
        if chosen or options.dry_run or options.limit is not None:
            parser.error("give either ids or options that say which jobs")
        return
    if not chosen:
        parser.error("give the ids of jobs, or options that say which jobs")
    selection_options.check(parser, options)
    confirm.check(parser, options)


# --- kick -----------------------------------------------------------------------------------


async def kick(client: Client, options: Namespace) -> int:
    """Kick jobs of a tube and print how many were kicked."""
    if not (options.all or options.chosen):
        bound = 1 if options.bound is None else options.bound
        emit(str(await client.kick(bound, tube=options.use)))
        return DONE
    operation = (
        partial(admin.kick, client, options.selection, limit=options.bound)
        if options.chosen
        else partial(admin.kick_all, client, options.use)
    )
    return await change_jobs(options, "Kick", _where(options), operation)


async def kick_job(client: Client, options: Namespace) -> int:
    """Kick jobs by their ids."""
    return await each(client.kick_job, options.ids)


def _add_kick_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-b",
        "--bound",
        type=number(arguments.BOUND),
        metavar="NUMBER",
        help="how many jobs at most (1; with options that say which jobs: no limit)",
    )
    add_use(parser)
    parser.add_argument(
        "tube", nargs="?", type=tube, metavar="TUBE", help="the tube: the same as -u"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="all buried jobs, or all delayed ones if none is buried",
    )
    confirm.add_to(parser)
    selection_options.add_to(parser, tubes=False, states=KICKABLE)


def _check_kick(parser: ArgumentParser, options: Namespace) -> None:
    if options.tube is not None:
        if options.use not in (arguments.DEFAULT_TUBE, options.tube):
            parser.error(f"two tubes are named, {options.tube} and {options.use}: kick takes one")
        options.use = options.tube
    options.tubes = [options.use]
    options.chosen = selection_options.given(options)
    if options.all and options.bound is not None:
        parser.error("--all kicks all of them: -b cannot be given too")
    if options.all or options.chosen:
        selection_options.check(parser, options)
        confirm.check(parser, options)
    elif options.dry_run:
        parser.error("--dry-run goes with --all, or with options that say which jobs")


# --- what they share --------------------------------------------------------------------------


def _where(options: Namespace) -> str:
    names = dict.fromkeys(options.tubes)
    return f"of {', '.join(names)}" if names else "of all tubes"


async def each(command: Callable[[Any], Awaitable[None]], ids: Sequence[int | str]) -> int:
    """Carry out a command for each id, also after it failed for another; return the exit status.

    A job for which the command failed is named on standard error. With several servers, those
    that are not lost are gone on with.
    """
    status = DONE
    lost: set[str] = set()
    for job_id in ids:
        server = job_id.rpartition("/")[0] if isinstance(job_id, str) else None
        if server in lost:
            say(f"job {job_id}: nothing was sent, since {server} is lost")
            continue
        try:
            await command(job_id)
        except CommandFailed as error:
            say(f"job {job_id}: {error}")
            status = status or REFUSED
        except ConnectionLost as error:
            if server is None:
                raise
            unknown = ", and may have been carried out" if error.sent else ""
            say(f"job {job_id}: {error}{unknown}")
            lost.add(server)
            status = NO_SERVER
    return status


VERBS = {
    "clear": Verb(
        connected(clear, each=True), _add_clear_arguments, _check_clear, epilog=CLEAR_EPILOG
    ),
    "delete": Verb(
        connected(
            delete,
            each=lambda options: not options.ids,
        ),
        _add_delete_arguments,
        _check_delete,
        epilog=DELETE_EPILOG,
    ),
    "kick": Verb(
        connected(
            kick,
            each=lambda options: options.all or options.chosen,
        ),
        _add_kick_arguments,
        _check_kick,
        epilog=KICK_EPILOG,
    ),
    "kick-job": Verb(connected(kick_job), add_ids, epilog="example:\n  beanstalkt kick-job 17 18"),
}
