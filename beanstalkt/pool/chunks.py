"""put_many over several servers: which bodies go where, and the ids in order. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from ..client.puts import CHUNK, Puts
from ..client.requests import PutChunk
from ..errors import BeanstalkException
from ..protocol.arguments import check_body
from .failover import may_go_on, worse
from .membership import Membership, MemberT, note
from .routing import check_key

UNDER_WAY = 2
"""Chunks of one put_many that are under way on a server at the most."""

KeyOf = Callable[[bytes], "str | bytes"]
"""Returns the key of a body."""


class KeyedPuts(Puts):
    """Choose the server of each put by the key that a function returns for its body."""

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
    before: tuple[Any, ...] = ()


class PoolChunk(PutChunk, Generic[MemberT]):
    """A part that is put on one server."""

    __slots__ = ("failures", "member", "part")

    def __init__(
        self, member: MemberT, part: Part, ended: Callable[[PoolChunk[MemberT]], object]
    ) -> None:
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


class SplitPuts(Generic[MemberT]):
    """The puts of one put_many, on the way to several servers.

    :param key: of all jobs, or a function that returns the key of a body; None: they have none
    :param size: of the first chunks, in bodies; later ones are longer
    :param strict: whether a job with a key goes to no other server than its own
    :param may_double: go on where the first server may have taken the jobs
    :param ended: called each time a chunk is settled
    """

    def __init__(
        self,
        bodies: Iterable[object],
        numbers: tuple[int, int, int],
        membership: Membership[MemberT],
        *,
        key: str | bytes | KeyOf | None,
        size: int,
        strict: bool,
        may_double: bool,
        ended: Callable[[], object],
    ) -> None:
        self._puts: Puts
        if callable(key):
            self._puts, self._key = KeyedPuts(bodies, numbers, key), None
        else:
            self._puts = Puts(bodies, numbers)
            self._key = None if key is None else check_key(key)
        self._membership = membership
        self._size = size
        self._taken = 0  # chunks
        self._strict = strict
        self._may_double = may_double
        self._tell_ended = ended
        self._under_way: dict[MemberT, int] = {}  # chunks, of the servers that have some
        self._left: list[Part] = []  # what is on no server yet
        self._error: BeanstalkException | None = None  # of a server that did not take some

    @property
    def finished(self) -> bool:
        """Whether all was put or has failed."""
        return not self._left and not self._under_way and self._puts.exhausted

    def outcome(self) -> tuple[list[Any], BaseException | None]:
        """Return the ids, and the error if there was one, which has them too."""
        return self._puts.ids, self._puts.failure()

    def next(self) -> PoolChunk[MemberT] | None:
        """Return what is to be sent next; None if nothing is left, or no server has room."""
        while True:
            for index, part in enumerate(self._left):
                member, busy = self._choose(part)
                if member is not None:
                    del self._left[index]
                    self._under_way[member] = self._under_way.get(member, 0) + 1
                    member.outstanding += len(part.puts)
                    return PoolChunk(member, part, self._ended)
                if not busy:
                    del self._left[index]
                    nobody = self._membership.no_server(part.key, self._strict)
                    self._puts.fail(self._error or nobody)
                    break
            else:
                # What was taken goes before more is taken.
                if self._left or self._puts.exhausted:
                    return None
                self._take()

    def _take(self) -> None:
        """Take the next bodies; those with keys in a part for each server."""
        puts, first = self._puts, len(self._puts.ids)
        taken = puts.next_payloads(self._size)
        # Few bodies are spread over all servers; of many, longer chunks cost less.
        self._taken += 1
        if self._taken % len(self._membership.members) == 0:
            self._size = min(2 * self._size, CHUNK)
        puts.ids += [None] * len(taken)
        if not taken:
            return
        if not isinstance(puts, KeyedPuts):
            self._left.append(Part(range(first, first + len(taken)), taken, self._key))
            return
        places: dict[MemberT, list[int]] = {}
        parts: dict[MemberT, Part] = {}
        # A key more than puts belongs to a body that was refused.
        for place, (put, key) in enumerate(zip(taken, puts.take_keys(), strict=False), first):
            home = self._membership.home_of(key)
            if home not in parts:
                places[home] = []
                parts[home] = Part(places[home], [], key)
            places[home].append(place)
            parts[home].puts.append(put)
        self._left += parts.values()

    def _choose(self, part: Part) -> tuple[MemberT | None, bool]:
        """Return a server with room, or None and whether one will have room later."""
        busy = False
        for member in self._membership.to_put_on(part.key, self._strict):
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

    def _ended(self, chunk: PoolChunk[MemberT]) -> None:
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
        self._tell_ended()

    def _failed(self, chunk: PoolChunk[MemberT]) -> None:
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
            back = Part(
                [part.places[index] for index in rest],
                [part.puts[index] for index in rest],
                part.key,
                (*part.before, chunk.member),
            )
            self._left.insert(0, back)
