"""The handler that calls the function which a job names: coroutine functions on the event loop,
plain functions in child processes, one a slot."""

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
from ....dispatch.safetask import TaskTimeout
from ....dispatch.table import Entry, Table, brief
from ...config.values import boolean, whole
from ...log.lines import FORMATTERS, log_entry
from ...policy.outcome import SUCCESS, Kind, Outcome
from ...process.child_watcher import Exits
from ...process.output import SHOWN
from .. import coroutine
from ..base import CannotStart, Handler, Option, Work
from .child_process import Child
from .memory import size

SECTION = "dispatch"
"""The section of the file that is a table, and the value of ``call`` that means it."""

_LAST_WAIT = 5.0
"""Seconds that killed children may take to be gone."""


def source(text: str) -> str:
    """Where the functions are."""
    if text != SECTION and not re.fullmatch(r"[^\s:]+[:.][^\s:]+", text):
        raise ValueError(
            "package.module:TABLE or package.module:function is expected, "
            f"or {SECTION} for the section of that name"
        )
    return text


class FunctionHandler(Handler):
    """Calls functions out of a dispatch table, and nothing outside it."""

    options = (
        Option(
            "call",
            source,
            "call the function that the job names: package.module:TABLE holds all names and "
            "paths, package.module:function is the only one",
            metavar="PATH",
            selects=True,
        ),
        Option(
            "swallow",
            boolean,
            "a function that raised is logged, and its job deleted",
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
            size,
            "address space that a child process may take, such as 500M (no limit)",
            metavar="BYTES",
        ),
    )
    sections = (SECTION,)

    def __init__(
        self,
        source: str | Mapping[str, str],
        *,
        swallow: bool = False,
        max_child_jobs: int | None = None,
        max_child_memory: int | None = None,
    ) -> None:
        """Import and check the table. Raises TableError (a ValueError)."""
        self.source = source
        self.table = Table.load(source)
        self.swallow = swallow
        self.max_child_jobs = max_child_jobs
        self.max_child_memory = max_child_memory
        self.in_process = any(entry.asynchronous for entry in self.table.entries.values())
        self._children: dict[int, Child] = {}  # by the number of their slot
        self._exits = Exits()
        self._ending: set[Child] = set()  # those that are to run nothing more

    @classmethod
    def from_options(cls, values: Mapping[str, Any], workers: int) -> FunctionHandler:
        found: str | Mapping[str, str] = values["call"]
        if found == SECTION:
            if SECTION not in values:
                raise ValueError(f"there is no section [{SECTION}] for call = {SECTION}")
            found = dict(values[SECTION])
        if not {"", os.getcwd()} & set(sys.path):
            # As `python -m` has it; the installed command has the folder that it lies in instead.
            sys.path.insert(0, os.getcwd())
        return cls(
            found,
            swallow=values["swallow"],
            max_child_jobs=values.get("max_child_jobs"),
            max_child_memory=values.get("max_child_memory"),
        )

    def describe(self) -> str:
        names = ", ".join(self.table.entries)
        return f"functions {names}" if self.table.only is None else f"function {self.source}"

    async def run(self, work: Work) -> Outcome:
        try:
            call = decode(work.body)
            entry = self.table.find(call)
        except BadCall as error:
            return Outcome(Kind.PERMANENT_FAIL, error=str(error)[:SHOWN])
        if entry.asynchronous:
            outcome = await self._on_loop(entry, call)
        else:
            outcome = await self._in_child(entry, work)
        return replace(outcome, details={"function": entry.name, **outcome.details})

    # --- coroutine functions ---

    async def _on_loop(self, entry: Entry, call: Call) -> Outcome:
        failure = await perform_async(entry.make(), call.args, call.kwargs)
        if isinstance(failure, asyncio.CancelledError):
            raise failure
        return self._swallowed(outcome_of(failure))

    def _swallowed(self, outcome: Outcome) -> Outcome:
        if not self.swallow or outcome.kind not in (Kind.UNKNOWN_FAIL, Kind.TIMEOUT):
            return outcome
        details = {"swallowed": outcome.kind.value, **outcome.details}
        log_entry("swallowed", {**details, "error": outcome.error}, logging.WARNING)
        return Outcome(Kind.SUCCESS, error=outcome.error, details=details)

    # --- plain functions ---

    async def _in_child(self, entry: Entry, work: Work) -> Outcome:
        try:
            child = self._child(work.slot)
            # Cancelled here, it goes on to start, for the next job: where importing takes
            # longer than a job may, no job would ever run.
            await asyncio.shield(child.ready)
        except (CannotStart, OSError) as error:
            return Outcome(Kind.NOT_STARTED, error=f"cannot start a child process: {error}")
        # A task stops itself in time. This is for one that does not heed it, or is not Python.
        limit = None if entry.timeout is None else entry.timeout + work.kill_grace
        answer = await _ask(child, work, limit)
        reply = answer.reply
        if answer.stopped:
            # Interrupted anywhere, it is not fit for another job.
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
            return outcome if answer.stopped else self._swallowed(outcome)
        if answer.late:
            text = f"it took more than {entry.timeout:g} s, and did not end when it was told to"
            return self._swallowed(Outcome(Kind.TIMEOUT, error=text))
        return Outcome(Kind.UNKNOWN_FAIL, error=f"its child process {child.fate()}")

    def _child(self, slot: int) -> Child:
        child = self._children.get(slot)
        if child is not None and child.usable:
            return child
        child = Child(
            {
                "source": self.source,
                "max_memory": self.max_child_memory,
                "log_format": _log_format(),
            },
            self._exits,
        )
        self._children[slot] = child
        self._ending.add(child)
        child.ended.add_done_callback(lambda _: self._ending.discard(child))
        return child

    async def close(self) -> None:
        """End the children."""
        left = {child.ended for child in self._ending}
        for child in list(self._ending):
            child.kill()
        if left:
            await asyncio.wait(left, timeout=_LAST_WAIT)


@dataclass
class _Answer:
    #: None: the child ended
    reply: dict[str, Any] | None = None
    #: it was told to end
    stopped: bool = False
    #: it was killed at the limit
    late: bool = False


async def _ask(child: Child, work: Work, limit: float | None) -> _Answer:
    """Give it the job, and wait for the answer; it is killed after `limit` seconds."""
    answer = _Answer()

    def kill() -> None:
        answer.late = True
        child.kill()

    timer = None if limit is None else asyncio.get_running_loop().call_later(limit, kill)
    reply = child.call(work.body)
    while not reply.done():
        try:
            await asyncio.shield(reply)
        except asyncio.CancelledError:
            if answer.stopped:
                child.kill()
            else:
                child.terminate(work.kill_grace)
            answer.stopped = True
    if timer is not None:
        timer.cancel()
    answer.reply = reply.result()
    return answer


def outcome_of(failure: BaseException | None) -> Outcome:
    """What the end of a function means."""
    if failure is None:
        return SUCCESS
    outcome = coroutine.outcome_of(failure)
    if isinstance(failure, TaskTimeout):
        return replace(outcome, kind=Kind.TIMEOUT)
    if outcome.kind is Kind.RETRY and failure.__cause__ is not None:
        return replace(outcome, error=brief(failure.__cause__))
    return outcome


def _log_format() -> str | None:
    """The format of the runner's log, where it is one of the runner's own."""
    for handler in logging.getLogger().handlers:
        for name, formatter in FORMATTERS.items():
            if type(handler.formatter) is formatter:
                return name
    return None
