"""How a verb changes many jobs: it counts them, asks, changes them, and tells what it did."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Protocol

from ..admin.progress import OnProgress, Summary
from ..errors import ConnectionLost
from .confirm import confirmed
from .exit_status import DONE, INTERRUPTED, REFUSED
from .output import emit
from .progress import carry_out, counted_jobs, interruptible, shown_progress
from .stdio import say


class JobOperation(Protocol):
    """An operation on many jobs, such as `admin.clear` with its client and selection."""

    async def __call__(
        self, *, dry_run: bool, summary: Summary, progress: OnProgress | None
    ) -> object:
        """Carry it out, and fill in the summary."""


async def change_jobs(options: Namespace, verb: str, where: str, operation: JobOperation) -> int:
    """Change jobs as the options of `confirm` say; return the exit status.

    :param verb: what is done, as a question begins with it: ``"Delete"``
    :param where: which jobs they are, after their number: ``"of mail"``
    """
    if not (options.yes or options.dry_run):
        status = await _ask(verb, where, operation)
        if status is not None:
            return status

    async def run(summary: Summary, progress: OnProgress | None) -> object:
        return await operation(dry_run=options.dry_run, summary=summary, progress=progress)

    return await carry_out(run)


async def _ask(verb: str, where: str, operation: JobOperation) -> int | None:
    """Count the jobs and ask; return the exit status, or None if they are to be changed."""
    planned = Summary()
    with interruptible():
        try:
            with shown_progress() as progress:
                await operation(dry_run=True, summary=planned, progress=progress)
            if not planned.done:
                say(f"there are no such jobs {where}; nothing was changed")
                emit("0")
                return DONE
            if await confirmed(f"{verb} {counted_jobs(planned)} {where}{_by_server(planned)}?"):
                return None
            return REFUSED
        except asyncio.CancelledError:
            say("interrupted; nothing was changed")
            return INTERRUPTED
        except ConnectionLost:
            say("the jobs could not be counted; nothing was changed")
            raise


def _by_server(planned: Summary) -> str:
    """Return how many jobs each of several servers has, for the end of a question."""
    if not planned.servers:
        return ""
    return f" ({', '.join(f'{name}: {own.done:,}' for name, own in planned.servers.items())})"
