"""The scans of several servers, one after another."""

from __future__ import annotations

from collections import deque

from ..errors import BeanstalkException, InvalidArgument
from .progress import OnProgress
from .record import JobRecord
from .scan import Scan
from .selection import Selection
from .several import Clients, SharedProgress, raise_all


class Scans:
    """Yield the records of the jobs of several servers, one server after another.

    Each record has the name of its server. Where a server is lost, the iteration goes on with the
    next one, and raises an error that names the lost ones after the last.

    :param clients: connected clients by the names of their servers
    :param limit: the number of records after which it ends; None: no limit

    The other parameters are those of :class:`Scan`.
    """

    def __init__(
        self,
        clients: Clients,
        selection: Selection,
        *,
        bodies: bool = False,
        limit: int | None = None,
        progress: OnProgress | None = None,
    ) -> None:
        if not clients:
            raise InvalidArgument("no server is given")
        #: the scan of each server that was looked at, by name
        self.scans: dict[str, Scan] = {}
        self._clients = clients
        self._selection = selection
        self._bodies = bodies
        self._limit = limit
        self._progress = SharedProgress(progress, len(clients), in_turn=True)
        self._names = deque(clients)  # of the servers that are still to be looked at
        self._errors: dict[str, BeanstalkException] = {}

    @property
    def matched(self) -> int:
        """How many jobs matched."""
        return sum(scan.matched for scan in self.scans.values())

    def __aiter__(self) -> Scans:
        return self

    async def __anext__(self) -> JobRecord:
        while self._names:
            name = self._names[0]
            try:
                record = await self._scan(name).__anext__()
            except StopAsyncIteration:
                self._end(name)
            except InvalidArgument:
                raise
            except BeanstalkException as error:
                self._errors[name] = error
                self._end(name)
            else:
                record.server = name
                return record
        errors, self._errors = self._errors, {}
        raise_all(errors)
        raise StopAsyncIteration

    def _scan(self, name: str) -> Scan:
        """Return the scan of a server, which is begun if need be."""
        if name not in self.scans:
            self.scans[name] = Scan(
                self._clients[name],
                self._selection,
                bodies=self._bodies,
                limit=None if self._limit is None else self._limit - self.matched,
                progress=self._progress.of(name),
            )
        return self.scans[name]

    def _end(self, name: str) -> None:
        self._names.popleft()
        self._progress.end(name)
