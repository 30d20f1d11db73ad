"""The handler that calls the function which a job names.

Coroutine functions run on the event loop, plain functions in child processes, one for each slot.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ....dispatch.call import BadCall, Call, decode
from ....dispatch.perform import perform_async
from ....dispatch.table import Table, TableEntry
from ...config.values import boolean, whole
from ...policy.exceptions import MAX_ERROR_LENGTH
from ...policy.outcome import Kind, Outcome
from ...process.child_watcher import ChildWatcher
from ..base import CannotStart, Handler, Option, WorkerJob
from .address_space import parse_size
from .child_process import PROGRAM, START_TIMEOUT, ChildProcess
from .outcomes import outcome_of_task

SECTION = "dispatch"
"""The section of the file that is a dispatch table, and the value of ``call`` that names it."""

CLOSE_TIMEOUT = 5.0
"""Seconds that `close` waits at most for killed children to be gone."""


def table_source(text: str) -> str:
    """Check the value of ``call``, which says where the functions are. Raises ValueError."""
    if text != SECTION and not re.fullmatch(r"[^\s:]+[:.][^\s:]+", text):
        raise ValueError(
            "package.module:TABLE or package.module:function is expected, "
            f"or {SECTION} for the section of that name"
        )
    return text


class FunctionHandler(Handler):
    """Call the functions of a dispatch table, and none outside it."""

    options = (
        Option(
            "call",
            table_source,
            "call the function that the job names: package.module:TABLE holds all names and "
            "paths, package.module:function is the only one",
            metavar="PATH",
            selects=True,
        ),
        Option(
            "swallow",
            boolean,
            "log the exception that a function has raised, and delete its job",
            default=False,
            switch=True,
        ),
        Option(
            "max_child_jobs",
            whole(1),
            "jobs after which a child process is replaced (no limit)",
            metavar="NUMBER",
        ),
        Option(
            "max_child_memory",
            parse_size,
            "address space that a child process may take, such as 500M (no limit)",
            metavar="BYTES",
        ),
    )
    sections = (SECTION,)

    #: what a child process runs
    child_program = PROGRAM
    #: seconds in which a child process must have imported the functions
    child_start_timeout = START_TIMEOUT

    def __init__(
        self,
        source: str | Mapping[str, str],
        *,
        swallow: bool = False,
        max_child_jobs: int | None = None,
        max_child_memory: int | None = None,
    ) -> None:
        """Import and check the table. Raises TableError, which is a ValueError."""
        self.source = source
        self.table = Table.load(source)
        self.swallow = swallow
        self.max_child_jobs = max_child_jobs
        self.max_child_memory = max_child_memory
        self.in_process = any(entry.asynchronous for entry in self.table.entries.values())
        self._children: dict[int, ChildProcess] = {}  # by the number of the slot
        self._watcher = ChildWatcher()
        self._running: set[ChildProcess] = set()  # all that have not ended

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> FunctionHandler:
        """Return a handler for the table that the options name. Raises ValueError."""
        found: str | Mapping[str, str] = values["call"]
        if found == SECTION:
            if SECTION not in values:
                raise ValueError(f"there is no section [{SECTION}] for call = {SECTION}")
            found = dict(values[SECTION])
        if not {"", os.getcwd()} & set(sys.path):
            # As with `python -m`: the installed command has its own folder there instead.
            sys.path.insert(0, os.getcwd())
        return cls(
            found,
            swallow=values["swallow"],
            max_child_jobs=values.get("max_child_jobs"),
            max_child_memory=values.get("max_child_memory"),
        )

    def describe(self) -> str:
        """Return the names of the functions."""
        names = ", ".join(self.table.entries)
        return f"functions {names}" if self.table.only is None else f"function {self.source}"

    async def run(self, work: WorkerJob) -> Outcome:
        """Call the function that a job names, and return what its end means for the job."""
        try:
            call = decode(work.body)
            entry = self.table.find(call)
        except BadCall as error:
            return Outcome(Kind.PERMANENT_FAIL, error=str(error)[:MAX_ERROR_LENGTH])
        if entry.asynchronous:
            outcome = await self._on_loop(entry, call)
        else:
            outcome = await self._in_child(entry, work)
        return replace(outcome, details={"function": entry.name, **outcome.details})

    # --- coroutine functions ---

    async def _on_loop(self, entry: TableEntry, call: Call) -> Outcome:
        failure = await perform_async(entry.make(), call.args, call.kwargs)
        if isinstance(failure, asyncio.CancelledError):
            raise failure
        return self._swallowed(outcome_of_task(failure))

    def _swallowed(self, outcome: Outcome) -> Outcome:
        """Turn a failure into a success if that is configured; the details say what it was."""
        if not self.swallow or outcome.kind not in (Kind.UNKNOWN_FAIL, Kind.TIMEOUT):
            return outcome
        details = {"swallowed": outcome.kind.value, **outcome.details}
        return Outcome(Kind.SUCCESS, error=outcome.error, details=details)

    # --- plain functions ---

    async def _in_child(self, entry: TableEntry, work: WorkerJob) -> Outcome:
        try:
            child = self._child(work.slot)
            # Shielded: if this job is cancelled, the start goes on for the next one. Otherwise no
            # job would ever run where importing takes longer than a job may.
            await asyncio.shield(child.ready)
        except (CannotStart, OSError) as error:
            return Outcome(Kind.NOT_STARTED, error=f"cannot start a child process: {error}")
        # A task stops itself at its own limit; kill one that cannot, such as code written in C.
        limit = None if entry.timeout is None else entry.timeout + work.kill_grace
        result = await _call(child, work, limit)
        reply = result.reply
        if result.stopped:
            # It may have been interrupted anywhere, and is not fit for another job.
            child.kill()
        elif reply is None or reply["spoiled"] or child.jobs == self.max_child_jobs:
            child.retire()
        if reply is not None:
            outcome = Outcome(
                Kind(reply["kind"]),
                delay=reply["delay"],
                error=reply["error"],
                details=reply["details"],
            )
            return outcome if result.stopped else self._swallowed(outcome)
        if result.late:
            text = f"it took more than {entry.timeout:g} s, and did not end when it was told to"
            return self._swallowed(Outcome(Kind.TIMEOUT, error=text))
        return Outcome(Kind.UNKNOWN_FAIL, error=f"its child process {child.describe_end()}")

    def _child(self, slot: int) -> ChildProcess:
        """Return the child process of a slot, a new one if it has none that is usable."""
        child = self._children.get(slot)
        if child is not None and child.usable:
            return child
        child = ChildProcess(
            {
                "source": self.source,
                "max_memory": self.max_child_memory,
                "formatter": _log_formatter(),
            },
            self._watcher,
            self.child_program,
            self.child_start_timeout,
        )
        self._children[slot] = child
        self._running.add(child)
        child.ended.add_done_callback(lambda _: self._running.discard(child))
        return child

    async def close(self) -> None:
        """Kill the child processes, and wait until they are gone."""
        left = {child.ended for child in self._running}
        for child in list(self._running):
            child.kill()
        if left:
            await asyncio.wait(left, timeout=CLOSE_TIMEOUT)


@dataclass
class _CallResult:
    """What came of a job that was given to a child process."""

    #: None: the child has ended
    reply: dict[str, Any] | None = None
    #: whether the child was told to end
    stopped: bool = False
    #: whether the child was killed at the limit
    late: bool = False


async def _call(child: ChildProcess, work: WorkerJob, limit: float | None) -> _CallResult:
    """Give a job to a child, and wait for its reply.

    :param limit: seconds after which the child is killed; None: no limit
    """
    result = _CallResult()

    def kill() -> None:
        result.late = True
        child.kill()

    timer = None if limit is None else asyncio.get_running_loop().call_later(limit, kill)
    reply = child.call(work.body)
    while not reply.done():
        try:
            await asyncio.shield(reply)
        except asyncio.CancelledError:
            if result.stopped:
                child.kill()
            else:
                child.terminate(work.kill_grace)
            result.stopped = True
    if timer is not None:
        timer.cancel()
    result.reply = reply.result()
    return result


def _log_formatter() -> str | None:
    """Return the path of the class that formats the runner's log, if it is one of the package.

    So the log lines of a child look like those of the runner.
    """
    package = __name__.partition(".")[0] + "."
    for handler in logging.getLogger().handlers:
        kind = type(handler.formatter)
        if kind.__module__.startswith(package):
            return f"{kind.__module__}:{kind.__qualname__}"
    return None
