"""The tails of several servers, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from ..errors import BeanstalkException, InvalidArgument
from .record import JobRecord
from .selection import Selection
from .several import Clients, raise_all
from .tailing import INTERVAL, Tail

OnLost = Callable[[str, BeanstalkException], None]
"""Get the name of a server that was lost, and the error."""


class Tails:
    """Yield the records of the jobs that are put into several servers from now on.

    Each record has the name of its server. Where a server is lost, the iteration goes on with the
    others; when all are, it raises an error that names them. Close it with :meth:`aclose`.

    :param clients: connected clients by the names of their servers

    The other parameters are those of :class:`Tail`.
    """

    def __init__(
        self,
        clients: Clients,
        selection: Selection,
        *,
        bodies: bool = True,
        interval: float = INTERVAL,
    ) -> None:
        if not clients:
            raise InvalidArgument("no server is given")
        #: the tail of each server, by name
        self.tails = {
            name: Tail(client, selection, bodies=bodies, interval=interval)
            for name, client in clients.items()
        }
        #: why each server that was lost is not followed any more, by name
        self.lost: dict[str, BeanstalkException] = {}
        #: called at once when a server is lost
        self.on_lost: OnLost | None = None
        self._records = self._follow()

    @property
    def missed(self) -> int:
        """How many jobs were gone before they were seen, as far as is known by now."""
        return sum(tail.missed for tail in self.tails.values())

    def __aiter__(self) -> Tails:
        return self

    async def __anext__(self) -> JobRecord:
        return await self._records.__anext__()

    async def aclose(self) -> None:
        """End it; nothing of it is left running."""
        await self._records.aclose()

    async def _follow(self) -> AsyncGenerator[JobRecord, None]:
        loop = asyncio.get_running_loop()
        names: dict[asyncio.Task[JobRecord], str] = {}

        def look(name: str) -> None:
            names[loop.create_task(self.tails[name].__anext__())] = name

        for name in self.tails:
            look(name)
        try:
            while names:
                done, _ = await asyncio.wait(names, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    name = names.pop(task)
                    try:
                        record = task.result()
                    except BeanstalkException as error:
                        self._lose(name, error)
                        continue
                    look(name)
                    record.server = name
                    yield record
        finally:
            for task in names:
                task.cancel()
            # None of them is to be reported to the loop as never retrieved.
            await asyncio.gather(*names, return_exceptions=True)
        raise_all({name: self.lost[name] for name in self.tails})

    def _lose(self, name: str, error: BeanstalkException) -> None:
        if isinstance(error, InvalidArgument):
            raise error
        self.lost[name] = error
        if self.on_lost is not None:
            self.on_lost(name, error)
