"""Put the jobs of claimed rows into a server, and say what became of each row."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import (
    BeanstalkException,
    Buried,
    ConnectionLost,
    Draining,
    InternalError,
    OutOfMemory,
    UnexpectedResponse,
)
from .outbox import Settled
from .rows import Put

BACK_OFF = (Draining, OutOfMemory, InternalError)
"""What a server says that takes no jobs now, but may take them later."""


class Server(Protocol):
    """The verbs that the relay uses, as `beanstalkt.Client` and `beanstalkt.Pool` have them."""

    def put(
        self, body: bytes, priority: int, delay: int, ttr: int, *, tube: str | None
    ) -> Awaitable[Any]:
        """Put a job; return its id."""

    def put_many(
        self, bodies: Iterable[bytes], priority: int, delay: int, ttr: int, *, tube: str | None
    ) -> Awaitable[list[Any]]:
        """Put a job for each body; return their ids."""

    def stats(self) -> Awaitable[Mapping[str, Any]]:
        """Return the statistics of the server."""

    def closed(self) -> bool:
        """Return whether there is no connection at the moment."""


@dataclass
class Batch:
    """What became of the rows of a batch.

    :ivar settled: what is to be written into the database
    :ivar refusal: why the server takes no jobs now; None: it takes them
    """

    settled: list[Settled] = field(default_factory=list)
    refusal: BeanstalkException | None = None


class Putter:
    """Put batches of jobs into a server, or into several.

    :param server: a connected client, or a pool
    :param name: what the database calls the server; a pool names its servers itself
    :param doubtful: the state of rows of which it is not known whether they were put
    """

    def __init__(self, server: Server, name: str, doubtful: str = "new") -> None:
        self._server = server
        self._name = name
        self._doubtful = doubtful
        #: bytes of a body at most, once a server has told it
        self.max_size: int | None = None
        self._batch = Batch()
        self._name_of_run = uuid.uuid4().hex[:16]
        self._number = 0  # of the batch
        self._runs: dict[str, str | None] = {}  # the id of each server, by its name

    async def put(self, puts: Sequence[Put]) -> Batch:
        """Put jobs, and return what became of their rows, each exactly once."""
        batch = self._batch = Batch()
        self._number += 1
        fitting = [each for each in puts if self._fits(each)]
        # Asked for on the same connection, before the puts: job ids begin anew with each run.
        members = self._members()
        stats = [asyncio.ensure_future(member.stats()) for member in members.values()]
        groups = _grouped(fitting)
        calls = [
            self._server.put_many((each.body for each in group), *numbers, tube=tube)
            for (tube, *numbers), group in groups.items()
        ]
        found = await asyncio.gather(*stats, *calls, return_exceptions=True)
        self._read(dict(zip(members, found, strict=False)))
        for group, result in zip(groups.values(), found[len(members) :], strict=True):
            await self._settle(group, result)
        return batch

    async def learn(self) -> None:
        """Ask the servers what they take, without putting anything."""
        members = self._members()
        calls = [member.stats() for member in members.values()]
        found = await asyncio.gather(*calls, return_exceptions=True)
        self._read(dict(zip(members, found, strict=True)))

    def _fits(self, put: Put) -> bool:
        if self.max_size is None or len(put.body) <= self.max_size:
            return True
        self._fail(put, f"the body is {len(put.body)} bytes, the server takes {self.max_size}")
        return False

    def _members(self) -> dict[str, Server]:
        """Return the servers that can be asked now, by their names."""
        clients: Mapping[str, Server] | None = getattr(self._server, "clients", None)
        if clients is None:
            return {self._name: self._server}
        return {name: client for name, client in clients.items() if not client.closed()}

    def _read(self, stats: Mapping[str, Any]) -> None:
        """Take the run and the limit of each server from its statistics."""
        known = {name: each for name, each in stats.items() if not isinstance(each, BaseException)}
        self._runs = {name: each.get("id") for name, each in known.items()}
        # With several servers, a body that only some of them take is tried.
        limits = [each["max-job-size"] for each in known.values() if "max-job-size" in each]
        self.max_size = max(limits, default=self.max_size)

    async def _settle(self, group: Sequence[Put], result: Any) -> None:
        if not isinstance(result, BaseException):
            self._sent(group, result)
            return
        if not isinstance(result, BeanstalkException):
            raise result
        ids = list(result.ids or ())
        missing = [put for put, job_id in zip(group, ids, strict=False) if job_id is None]
        sent = [put for put, job_id in zip(group, ids, strict=False) if job_id is not None]
        self._sent(sent, [job_id for job_id in ids if job_id is not None])
        untried = group[len(ids) :]
        if isinstance(result, (ConnectionLost, UnexpectedResponse)):
            self._lost(missing, result)
            self._again(untried, result)
        elif isinstance(result, BACK_OFF):
            self._refused([*missing, *untried], result)
        else:
            if isinstance(result, Buried):
                # The replies are in order: this is that of the first put without an id.
                self._answer(missing.pop(0), result)
            await self._put_singly([*missing, *untried])

    async def _put_singly(self, puts: Sequence[Put]) -> None:
        """Put jobs one by one, so that each gets its own error."""
        calls = [
            self._server.put(each.body, each.priority, each.delay, each.ttr, tube=each.tube)
            for each in puts
        ]
        for put, result in zip(
            puts, await asyncio.gather(*calls, return_exceptions=True), strict=True
        ):
            self._answer(put, result)

    def _answer(self, put: Put, result: Any) -> None:
        if not isinstance(result, BaseException):
            self._sent([put], [result])
        elif isinstance(result, Buried):
            self._sent([put], [result.job_id], f"the server has buried it at once: {result}")
        elif isinstance(result, (ConnectionLost, UnexpectedResponse)):
            self._lost([put], result)
        elif isinstance(result, BACK_OFF):
            self._refused([put], result)
        elif isinstance(result, BeanstalkException):
            self._fail(put, str(result))
        else:
            raise result

    # --- the answers, as they are written ---

    def _sent(self, puts: Iterable[Put], ids: Iterable[Any], note: str | None = None) -> None:
        by_server: dict[str, list[tuple[int, int | None, str | None]]] = defaultdict(list)
        for put, job_id in zip(puts, ids, strict=True):
            name = self._name
            if isinstance(job_id, str):  # of several servers: "name/123"
                name, _, number = job_id.rpartition("/")
                job_id = int(number)
            by_server[name].append((put.row_id, job_id, put.tube))
        self._batch.settled += [
            Settled("sent", rows, name, self._runs.get(name), note, self._event)
            for name, rows in by_server.items()
        ]

    def _fail(self, put: Put, error: str) -> None:
        self._add([put], "failed", error, self._event)

    def _lost(self, puts: Sequence[Put], error: BeanstalkException) -> None:
        if isinstance(error, ConnectionLost) and not error.sent:
            self._again(puts, error)
            return
        self._add(puts, self._doubtful, f"it is not known whether the server has it: {error}")

    def _refused(self, puts: Sequence[Put], error: BeanstalkException) -> None:
        self._batch.refusal = error
        self._again(puts, error)

    def _again(self, puts: Sequence[Put], error: BeanstalkException) -> None:
        self._add(puts, "new", str(error))

    def _add(self, puts: Sequence[Put], state: str, error: str, event: str | None = None) -> None:
        if puts:
            rows = [(put.row_id, None, put.tube) for put in puts]
            self._batch.settled.append(Settled(state, rows, error=error, event=event))

    @property
    def _event(self) -> str:
        # The counter has a fixed length, so that events come to the end of their index.
        return f"{self._name_of_run}-{self._number:08x}"


def _grouped(puts: Iterable[Put]) -> dict[tuple[Any, ...], list[Put]]:
    """Group puts by what one put_many has in common, each group in the order of the rows."""
    groups: dict[tuple[Any, ...], list[Put]] = defaultdict(list)
    for put in puts:
        groups[put.tube, put.priority, put.delay, put.ttr].append(put)
    return groups
