"""Importing into several servers: which line goes to which of them."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle

from ..errors import BeanstalkException, InvalidArgument
from .importer import Importer, stripped
from .journal import Journal, is_journal
from .portable import PortableJob, decode
from .progress import OnError, OnProgress, Summary
from .several import Clients, SharedProgress, prepare, raise_all

LOST = "its connection was lost before the line was sent"


def paths_of(path: str, names: Collection[str]) -> dict[str, str]:
    """Return the paths of the journals of several servers, by name.

    Raises InvalidArgument if there is a journal there that is of none of them: lines that it tells
    of would be put twice.
    """
    found = {name: f"{path}.{name}" for name in names}
    for other in glob.glob(f"{glob.escape(path)}*"):
        if other not in found.values() and other[len(path) :][:1] in ("", "."):
            _refuse_journal(path, other)
    return found


def _refuse_journal(path: str, other: str) -> None:
    try:
        wrong = is_journal(other)
    except OSError:
        return  # not one that was written by an import
    if wrong and other == path:
        raise InvalidArgument(
            f"{path} tells of an import into one server, and several are named now: name that one "
            "alone, or another file"
        )
    if wrong:
        raise InvalidArgument(
            f"{other} tells of an import into a server that is not named now: name it too, or "
            "name another file"
        )


class SpreadImporter:
    """Put the jobs of lines into several servers, by an importer for each of them.

    A line that a journal tells of goes to the server of that journal; else to the server that it
    names, unless `spread` is set; else to the next one in turn that is not lost.

    :param journals: those of the servers, by name; None: a server has none

    The other parameters are those of `import_jobs`.
    """

    def __init__(
        self,
        clients: Clients,
        journals: Mapping[str, Journal | None],
        summary: Summary,
        *,
        tube: str | None = None,
        on_error: OnError = "stop",
        dry_run: bool = False,
        spread: bool = False,
        turns: Sequence[str] | None = None,
        progress: OnProgress | None = None,
    ) -> None:
        prepare(summary, "imported", clients)
        summary.noun, summary.dry_run = "line", dry_run
        turns = list(clients) if turns is None else turns
        if not turns or not set(turns) <= set(clients):
            raise InvalidArgument(f"turns must be names of these servers, not {turns!r:.200}")
        shared = SharedProgress(progress, len(clients), in_turn=False)
        self._importers = {
            name: Importer(
                client,
                tube=tube,
                on_error=on_error,
                journal=journals[name],
                dry_run=dry_run,
                summary=summary.servers[name],
                progress=shared.of(name),
            )
            for name, client in clients.items()
        }
        self._summary = summary
        self._tube = tube
        self._spread = spread
        self._turns = cycle(turns)
        self._in_turn = set(turns)
        self._stops_at_loss = on_error == "stop"
        self._lost: dict[str, BeanstalkException] = {}
        self._draining: set[str] = set()  # of those that answered
        self._stopped = False
        self._settled = False
        self._number = 0  # of the last line

    @property
    def summary(self) -> Summary:
        """What was done, on all servers and on each."""
        self._summary.add_up()
        return self._summary

    @property
    def stopped(self) -> bool:
        """Whether no more lines are taken, because one was refused or a server was lost."""
        return self._stopped or any(each.stopped for each in self._importers.values())

    async def begin(self) -> None:
        """Ask each server what it takes; raise ConnectionLost if all are lost."""
        for name, importer in self._importers.items():
            try:
                await importer.begin()
            except InvalidArgument:
                raise
            except BeanstalkException as error:
                self._lost[name] = error
            else:
                if importer.draining:
                    self._draining.add(name)
        if len(self._lost) == len(self._importers):
            self._raise_lost()

    async def take(self, line: bytes | str) -> None:
        """Take the next line, and give it to the importer of a server."""
        self._number += 1
        data = stripped(line)
        if not data:
            return
        number = self._number
        name, job = self._route(number, data)
        importer = self._importers[name]
        if name in self._lost and not importer.has_done(number):
            importer.refuse(number, f"its server, {name}, is not available")
            return
        try:
            await importer.take_as(number, data, job)
        except InvalidArgument:
            raise
        except BeanstalkException as error:
            self._lose(name, error)
            if number not in importer.refuse_unsent(LOST):
                importer.refuse(number, LOST)

    def _route(self, number: int, data: bytes) -> tuple[str, PortableJob | None]:
        """Return the server that a line goes to, and its job if it had to be read for that."""
        for name, importer in self._importers.items():
            if importer.knows(number):
                return name, None
        try:
            job = decode(data, self._tube)
        except InvalidArgument:
            return next(iter(self._importers)), None  # which refuses it
        if not self._spread and job.server in self._importers:
            return job.server or "", job
        return self._next_in_turn(), job

    def _next_in_turn(self) -> str:
        """Return the next server that is not lost, and was not draining at the beginning."""
        for avoided in (self._lost.keys() | self._draining, self._lost.keys()):
            if not self._in_turn <= avoided:
                return next(name for name in self._turns if name not in avoided)
        return next(self._turns)

    def _lose(self, name: str, error: BeanstalkException) -> None:
        self._lost.setdefault(name, error)
        self._stopped = self._stopped or self._stops_at_loss

    async def flush(self) -> None:
        """Put what was gathered, without waiting for more lines."""
        for name, importer in self._importers.items():
            if name not in self._lost:
                try:
                    await importer.flush()
                except BeanstalkException as error:
                    self._lose(name, error)
                    importer.refuse_unsent(LOST)

    async def end(self) -> None:
        """Put what was gathered; wait for all that is under way. Raises ConnectionLost."""
        for name, importer in self._importers.items():
            if name not in self._lost:
                try:
                    await importer.end()
                except InvalidArgument:
                    raise
                except BeanstalkException as error:
                    self._lose(name, error)
        await self.settle()

    async def settle(self) -> None:
        """Wait for what is under way, and put no more; may be called again after it was cancelled.

        Raises ConnectionLost, once it is known what became of all jobs.
        """
        for name, importer in self._importers.items():
            try:
                await importer.settle()
            except BeanstalkException as error:
                self._lose(name, error)
            if name in self._lost:
                importer.refuse_unsent(LOST)
        for own in self._summary.servers.values():
            own.interrupted = own.interrupted or self._summary.interrupted
        self._summary.add_up()
        if not self._settled:
            self._settled = True
            if self.stopped:
                self._summary.notes.append(f"no line after line {self._number} was put")
        self._raise_lost()

    def _raise_lost(self) -> None:
        lost, self._lost = self._lost, {}
        raise_all(lost)
