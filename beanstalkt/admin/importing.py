"""Importing: the lines of an export become jobs again, with all that they had."""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

from ..client.client import Client
from .importer import Importer
from .journal import Journal
from .progress import OnError, OnProgress, Summary
from .several import Clients
from .spreading import SpreadImporter, paths_of

T = TypeVar("T")

AnyImporter = Importer | SpreadImporter
"""What puts the jobs of lines: into one server, or into several."""


async def import_jobs(
    client: Client | Clients,
    lines: Iterable[bytes | str] | AsyncIterable[bytes | str],
    *,
    tube: str | None = None,
    on_error: OnError = "stop",
    resume: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    spread: bool = False,
    turns: Sequence[str] | None = None,
    summary: Summary | None = None,
    progress: OnProgress | None = None,
) -> Summary:
    """Put the jobs of an export, with the tube, priority, ttr, state and delay that they had.

    A buried job is buried again, without a moment at which a worker could reserve it. A job that
    was reserved is put as a ready one. At most 512 jobs are under way at a time, at each server.

    :param client: or clients by the names of their servers, as `pool.clients`; then a job goes to
        the server that its line names, and others go to each server in turn. A line that names one
        which is lost is refused.
    :param lines: what `export_jobs` yields, or the lines of a file of that; empty ones are
        skipped. An asynchronous generator is closed at the end.
    :param tube: puts all jobs into this tube
    :param on_error: what to do after a line that is wrong, or that the server refuses: ``"stop"``
        when what is under way has been answered, or ``"skip"`` it
    :param resume: a file that tells which lines were done, kept for the next call: given the same
        lines and file, that one puts the others only, however this one ended. What was under way
        when the process was killed is looked for in the server, and put if it is not found. With
        several servers, each has a file of its own, with its name after a dot.
    :param dry_run: check the lines and count the jobs, but put none
    :param spread: put the jobs into each of several servers in turn, whatever the lines name
    :param turns: the names of the servers in the order of the turns, each as often as it is to
        get a job; None: each once
    :param summary: is filled in as the import goes on, and returned; a new one by default. Its
        failures have the numbers of lines.
    :param progress: called some times a second

    Raises ConnectionLost, OSError for the file to resume from, and InvalidArgument if that
    belongs to another import. When it is cancelled, it waits for what is under way.
    """
    opening = importing(
        client,
        tube=tube,
        on_error=on_error,
        resume=resume,
        dry_run=dry_run,
        spread=spread,
        turns=turns,
        summary=summary,
        progress=progress,
    )
    async with opening as importer:
        if isinstance(lines, AsyncIterable):
            async with closed_at_end(aiter(lines)) as iterator:
                async for line in iterator:
                    await importer.take(line)
                    if importer.stopped:
                        break
        else:
            for line in lines:
                await importer.take(line)
                if importer.stopped:
                    break
    return importer.summary


@asynccontextmanager
async def closed_at_end(lines: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an asynchronous iterator at the end of the ``with`` if it is a generator."""
    try:
        yield lines
    finally:
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


@asynccontextmanager
async def importing(
    client: Client | Clients,
    *,
    resume: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    summary: Summary | None = None,
    **options: Any,
) -> AsyncIterator[AnyImporter]:
    """Give an importer, whose lines are all put, or known not to be, at the end of the ``with``.

    The arguments and errors are those of :func:`import_jobs`.
    """
    summary = Summary() if summary is None else summary
    summary.action = "imported"  # before anything fails
    with ExitStack() as stack:

        def journal_at(path: str | None) -> Journal | None:
            if path is None or (dry_run and not os.path.exists(path)):
                return None
            return stack.enter_context(Journal(path))

        path = None if resume is None else os.fspath(resume)
        importer: AnyImporter
        if isinstance(client, Mapping):
            journals = dict.fromkeys(client) if path is None else paths_of(path, client)
            found = {name: journal_at(each) for name, each in journals.items()}
            importer = SpreadImporter(client, found, summary, dry_run=dry_run, **options)
        else:
            for each in ("spread", "turns"):
                options.pop(each, None)
            journal = journal_at(path)
            importer = Importer(
                client, journal=journal, dry_run=dry_run, summary=summary, **options
            )
        try:
            await importer.begin()
            yield importer
            await importer.end()
        except asyncio.CancelledError:
            summary.interrupted = True
            raise
        finally:
            await importer.settle()
