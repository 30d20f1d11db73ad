"""Resume an import: find the lines whose jobs the server has already, and put only the others.

The journal of the last import tells which lines were done. It leaves in doubt the lines that had
been sent when that import ended, and had not been answered. Their jobs are looked for in the
server, among those with higher ids than were known then. A job that is not found was not put, or a
worker has deleted it since; it is put, so that none is lost, and may have been put twice. Jobs of
lines that the journal tells to be done are not mistaken for those of others. A job that somebody
else has put in the meantime cannot be told from the one that is looked for if its tube, ttr and
body are the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..client.client import Client
from ..errors import BeanstalkException, InvalidArgument
from ..protocol.stats import Stats
from .journal import Journal
from .portable import PortableJob
from .record import JobRecord
from .scan import Scan
from .selection import select
from .target import Target, put_delay

SETTLING = 0.25
"""Seconds to wait before the server is asked for the jobs of lines in doubt: it may still be
reading what the last import had sent when it was killed."""


@dataclass(slots=True)
class Line:
    """Hold a line of the input and the job that it stands for."""

    number: int
    checksum: int
    job: PortableJob


class Resumption:
    """What earlier imports of the same lines have done, as their journal tells."""

    def __init__(self, client: Client, journal: Journal) -> None:
        self.journal = journal
        #: the last line that the journal tells of
        self.last_line = journal.last_line
        #: whether it remains to look for the jobs of lines in doubt
        self.pending = self.last_line > 0
        self._client = client
        self._sum = 0  # of the checksums of the lines that are done
        self._known_sum = journal.checksum
        self._doubtful: list[Line] = []

    def check_server(self, stats: Stats) -> None:
        """Check that the journal belongs to this server; raise InvalidArgument if it does not."""
        journal, server = self.journal, stats.get("id", "")
        address = str(self._client.address)
        if not self.last_line:
            return
        if journal.server != server and not stats.get("binlog-current-index", 0):
            raise InvalidArgument(
                f"{journal.path} tells of an import into another process of the server, or into "
                f"another server than {address}; this one keeps no binlog, so those jobs are not "
                "in it: remove the journal to import all lines"
            )
        if journal.server != server and journal.address != address:
            raise InvalidArgument(
                f"{journal.path} tells of an import into {journal.address}, not into {address}: "
                "name another file"
            )

    def use_server(self, stats: Stats) -> None:
        """Write down to which server the next lines are put, unless the journal tells that."""
        server, address = stats.get("id", ""), str(self._client.address)
        if (self.journal.server, self.journal.address) != (server, address):
            self.journal.use(server, address)

    def tells_of(self, number: int) -> bool:
        """Return whether the journal tells of a line."""
        journal = self.journal
        return any(number in lines for lines in (journal.done, journal.refused, journal.in_doubt))

    def is_done(self, number: int, checksum: int) -> bool:
        """Return whether a line is in the server already.

        Raises InvalidArgument if it is not the line that the journal tells of.
        """
        if number not in self.journal.done:
            return False
        if self.journal.first == (number, checksum) or self.journal.first[0] != number:
            self._sum = (self._sum + checksum) % 2**64
            return True
        raise self._other_input()

    def is_in_doubt(self, line: Line) -> bool:
        """Return whether it is not known if a line is in the server; keep it until it is."""
        if not self.pending or line.number not in self.journal.in_doubt:
            return False
        self._doubtful.append(line)
        return True

    async def look(self, target: Target) -> tuple[list[Line], list[Line]]:
        """Look for the jobs of the lines in doubt, and bury those that are to be buried.

        Returns the lines whose jobs are in the server, which are in the journal then, and the
        others. Raises InvalidArgument if the lines so far are not those of the journal.
        """
        self.pending = False
        if self._sum != self._known_sum:
            raise self._other_input()
        lines, self._doubtful = self._doubtful, []
        found = await self._find(lines) if lines else {}
        unburied = [
            (record.id, line.job.priority)
            for line in lines
            if line.job.state == "buried"
            and (record := found.get(line.number)) is not None
            and record.state in ("ready", "delayed")
        ]
        for outcome in await target.bury(unburied):
            if isinstance(outcome, BeanstalkException):
                raise outcome
        done = [line for line in lines if line.number in found]
        if done:
            self.journal.end(
                [line.number for line in done],
                [],
                sum(line.checksum for line in done),
                [record.id for record in found.values()],
            )
        return done, [line for line in lines if line.number not in found]

    async def _find(self, lines: Sequence[Line]) -> dict[int, JobRecord]:
        """Return the records of the jobs that were put for these lines, by line."""
        await asyncio.sleep(SETTLING)
        exact: dict[tuple[object, ...], list[int]] = defaultdict(list)
        alike: dict[tuple[str, int, bytes], list[int]] = defaultdict(list)
        for line in reversed(lines):
            job = line.job
            key = (job.tube, job.ttr or 1, job.body)
            exact[(*key, job.priority, put_delay(job))].append(line.number)
            alike[key].append(line.number)
        found: dict[int, JobRecord] = {}
        changed: dict[tuple[str, int, bytes], list[JobRecord]] = defaultdict(list)
        tubes = {line.job.tube for line in lines}
        selection = select(tubes, since_id=self.journal.after + 1)
        async for record in Scan(self._client, selection, bodies=True):
            if record.id in self.journal.ids:
                continue  # of another line, with the same body perhaps
            key = (record.tube, record.ttr, record.body or b"")
            numbers = exact.get((*key, record.priority, record.delay))
            if numbers:
                found[numbers.pop()] = record
            elif len(changed[key]) < len(alike.get(key, ())):
                changed[key].append(record)
            elif not changed[key]:
                del changed[key]
        # Workers may have changed the priority and the delay since.
        for key, records in changed.items():
            left = [number for number in alike[key] if number not in found]
            found.update(zip(reversed(left), records, strict=False))
        return found

    def _other_input(self) -> InvalidArgument:
        return InvalidArgument(
            f"{self.journal.path} tells of an import of other lines than these: give the same "
            "input, or name another file for the journal"
        )
