"""put_many over several servers: chunks of puts, each on one server, and the ids in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..client.puts import CHUNK, Puts
from ..client.requests import PutChunk
from ..errors import BeanstalkException
from ..protocol.arguments import check_body
from .failover import may_go_on, worse
from .member import Member
from .puts import note
from .routing import check_key

UNDER_WAY = 2
"""Chunks of one put_many that are under way on a server at the most."""

LEAST = 32
"""Bodies of a chunk at the least, if there are so many: smaller ones cost too much."""

Route = Callable[[bytes | None], Iterator[Member]]
"""Yields the servers to try, in order, for a key or for none."""

KeyOf = Callable[[bytes], "str | bytes"]
"""Returns the key of a body."""


class KeyedPuts(Puts):
    """Puts with the keys that a function returns for their bodies."""

    def __init__(
        self, bodies: Iterable[object], numbers: tuple[int, int, int], key_of: KeyOf
    ) -> None:
        super().__init__(bodies, numbers)
        self._keys: list[bytes] = []
        self._bodies = self._recorded(self._bodies, key_of)

    def _recorded(self, bodies: Iterator[object], key_of: KeyOf) -> Iterator[object]:
        for given in bodies:
            body = check_body(given)
            self._keys.append(check_key(key_of(body)))
            yield body

    def take_keys(self) -> list[bytes]:
        """Return the keys of the puts that were taken last."""
        keys, self._keys = self._keys, []
        return keys


@dataclass
class Part:
    """Some puts that go to one server together.

    :ivar places: among all of the put_many
    :ivar key: that decides where they belong; None: nothing does
    :ivar before: servers that did not take them
    """

    places: Sequence[int]
    puts: list[bytes]
    key: bytes | None
    before: tuple[Member, ...] = ()


class PoolChunk(PutChunk):
    """A part that is put on one server."""

    __slots__ = ("failures", "member", "part")

    def __init__(self, member: Member, part: Part, ended: Callable[[PoolChunk], object]) -> None:
        super().__init__(b"".join(part.puts), len(part.puts), [], lambda _: ended(self))
        self.member = member
        self.part = part
        #: the puts that failed, by their place in this chunk
        self.failures: dict[int, BeanstalkException] = {}

    def _fail(self, error: BeanstalkException, count: int) -> None:
        if self.missing:
            first = len(self.ids)
            self.failures.update(dict.fromkeys(range(first, first + count), error))
        super()._fail(error, count)


class PoolPutMany:
    """One call of put_many over several servers.

    :param puts: of all bodies
    :param tube: that the jobs go to
    :param key: of all jobs; None: of none, or `puts` know the key of each
    :param route: yields the servers to try
    :param servers: their number
    :param nobody: returns the error if there is no server to try for a key, or for none
    :param may_double: go on where the first server may have taken the jobs
    """

    def __init__(
        self,
        puts: Puts,
        future: asyncio.Future[list[str]],
        *,
        tube: str,
        key: bytes | None,
        route: Route,
        servers: int,
        nobody: Callable[[bytes | None], BeanstalkException],
        may_double: bool,
    ) -> None:
        #: what the caller waits for
        self.future = future
        self._puts = puts
        self._tube = tube
        self._key = key
        self._route = route
        self._size = max(LEAST, CHUNK // max(servers, 1))
        self._nobody = nobody
        self._may_double = may_double
        self._under_way: dict[Member, int] = {}  # chunks, of the servers that have some
        self._left: list[Part] = []  # what is on no server yet
        self._back: list[Part] = []  # what a server did not take
        self._error: BeanstalkException | None = None  # of a server that did not take some
        self._filling = False  # is about to

    def start(self) -> None:
        """Send the first chunks."""
        self._fill()

    def _fill(self) -> None:
        self._filling = False
        if self.future.done():
            return
        # What was taken is sent before more is taken, so a server without room ends this.
        self._left, self._back = self._back + self._left, []
        while self._send_left() and not self._puts.exhausted:
            self._take()
        if not self._left and not self._back and not self._under_way and self._puts.exhausted:
            self._finish()

    def _take(self) -> None:
        """Take the next bodies; those with keys in a part for each server."""
        puts, first = self._puts, len(self._puts.ids)
        taken = puts.next_payloads(self._size)
        puts.ids += [None] * len(taken)
        if not taken:
            return
        if not isinstance(puts, KeyedPuts):
            self._left.append(Part(range(first, first + len(taken)), taken, self._key))
            return
        places: dict[Member | None, list[int]] = {}
        parts: dict[Member | None, Part] = {}
        # A key more than puts belongs to a body that was refused.
        for place, (put, key) in enumerate(zip(taken, puts.take_keys(), strict=False), first):
            home = next(self._route(key), None)
            if home not in parts:
                places[home] = []
                parts[home] = Part(places[home], [], key)
            places[home].append(place)
            parts[home].puts.append(put)
        self._left += parts.values()

    def _send_left(self) -> bool:
        """Send what was taken; return whether all of it was sent or has failed."""
        waiting = []
        for part in self._left:
            member, busy = self._choose(part)
            if member is not None:
                self._send(member, part)
            elif busy:
                waiting.append(part)
            else:
                self._puts.fail(self._error or self._nobody(part.key))
        self._left = self._back + waiting  # what came back, perhaps at once, goes first
        self._back = []
        return not self._left

    def _choose(self, part: Part) -> tuple[Member | None, bool]:
        """Return a server with room, or None and whether one will have room later."""
        busy = False
        for member in self._route(part.key):
            if member in part.before:
                continue
            if busy and not member.takes_puts:
                break  # those that are slow or full are for when there are no others
            if self._under_way.get(member, 0) < UNDER_WAY:
                return member, False
            busy = True
            if part.key is not None:
                break
        return None, busy

    def _send(self, member: Member, part: Part) -> None:
        chunk = PoolChunk(member, part, self._ended)
        self._under_way[member] = self._under_way.get(member, 0) + 1
        member.outstanding += len(part.puts)
        connection = member.client.connection
        if connection is None:
            chunk.lost(member.client.reason, sent=False)
        else:
            connection.send_chunk(chunk, self._tube, member.client.tubes.asked)

    def _ended(self, chunk: PoolChunk) -> None:
        member, places = chunk.member, chunk.part.places
        member.outstanding -= len(chunk.part.puts)
        self._under_way[member] -= 1
        if not self._under_way[member]:
            del self._under_way[member]
        name = member.server.name
        found = [None if number is None else f"{name}/{number}" for number in chunk.ids]
        ids: list[Any] = self._puts.ids
        if isinstance(places, range):
            ids[places.start : places.stop] = found
        else:
            for place, job_id in zip(places, found, strict=True):
                ids[place] = job_id
        if chunk.failures:
            self._failed(chunk)
        # Not here and now: the bodies come from the user's code, and this is the reader's call.
        if not self._filling:
            self._filling = True
            self.future.get_loop().call_soon(self._fill)

    def _failed(self, chunk: PoolChunk) -> None:
        """Leave to other servers what may go on, and note the error of the rest."""
        for error in dict.fromkeys(chunk.failures.values()):
            note(error, chunk.member)
        part = chunk.part
        rest = []
        for index, error in chunk.failures.items():
            if may_go_on(error, self._may_double):
                self._error = worse(error, self._error)
                rest.append(index)
            else:
                self._puts.fail(error)
        if rest:
            self._back.append(
                Part(
                    [part.places[index] for index in rest],
                    [part.puts[index] for index in rest],
                    part.key,
                    (*part.before, chunk.member),
                )
            )

    def _finish(self) -> None:
        error = self._puts.failure()
        if error is None:
            self.future.set_result(self._puts.ids)  # type: ignore[arg-type]  # all are str
        else:
            self.future.set_exception(error)
