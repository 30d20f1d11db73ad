"""Which server a job goes to. No I/O.

A key is placed by weighted rendezvous hashing: each server has a score for the key, and the best
one gets the job. Another server more, or one less, moves only the keys that it gets, or had. The
scores depend on the names and weights alone, so every program that knows the same names and
weights, on any machine, agrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from random import randrange
from typing import Any, Generic, Protocol, TypeVar

from ..errors import InvalidArgument
from ..protocol.servers import Server

ROUND_ROBIN = "round-robin"
"""Each server gets its share of the puts, in turn."""

LEAST_OUTSTANDING = "least-outstanding"
"""A put goes to the server that has the fewest unanswered puts for its weight."""

STRATEGIES = (ROUND_ROBIN, LEAST_OUTSTANDING)

_LARGEST = 2.0**64


class Weighted(Protocol):
    """A server of a pool, as far as routing needs it."""

    @property
    def server(self) -> Server:
        """Return its name and weight."""

    #: puts under way
    outstanding: int


MemberT = TypeVar("MemberT", bound=Weighted)
Member_co = TypeVar("Member_co", covariant=True)


class Turns(Protocol[Member_co]):
    """What yields the members in the order in which a put is tried on them."""

    def take(self) -> Member_co | None:
        """Return the member whose turn it is; None if there is none."""

    def order(self) -> Iterator[Member_co]:
        """Yield each member once, the one whose turn it is first."""


def check_strategy(strategy: str) -> str:
    """Return the strategy; raise InvalidArgument unless there is one of this name."""
    if strategy not in STRATEGIES:
        raise InvalidArgument(f"strategy must be {' or '.join(STRATEGIES)}, not {strategy!r}")
    return strategy


def make_turns(strategy: str, members: Sequence[MemberT]) -> Turns[MemberT]:
    """Return what chooses among these members; those with weight 0 are never chosen."""
    weighty = [member for member in members if member.server.weight]
    if strategy == LEAST_OUTSTANDING:
        return LeastOutstanding(weighty)
    return RoundRobin(weighty)


class RoundRobin(Generic[MemberT]):
    """Take members in turn, each as often as its weight says, evenly spread."""

    def __init__(self, members: Sequence[MemberT]) -> None:
        self._cycle: list[MemberT] = list(_spread(members))
        # Anywhere: programs that put one job each would all put it on the first server.
        self._next = randrange(len(self._cycle)) if self._cycle else 0

    def take(self) -> MemberT | None:
        """Return the member whose turn it is; None if there is none."""
        place = self._next
        if place >= len(self._cycle):
            if not place:
                return None
            place = 0
        self._next = place + 1
        return self._cycle[place]

    def order(self) -> Iterator[MemberT]:
        """Yield each member once, the one whose turn it is first."""
        cycle, first = self._cycle, self._next
        seen: set[int] = set()
        for step in range(len(cycle)):
            place = (first + step) % len(cycle)
            member = cycle[place]
            if id(member) not in seen:
                # Whoever comes next goes on from here: the neighbour of a server that is away
                # does not get all of its share.
                self._next = (place + 1) % len(cycle)
                seen.add(id(member))
                yield member


def _spread(members: Sequence[MemberT]) -> Iterator[MemberT]:
    """Yield one round: each member as often as its weight, reduced, says (smooth weighting)."""
    divisor = math.gcd(*(member.server.weight for member in members)) or 1
    weights = [member.server.weight // divisor for member in members]
    total = sum(weights)
    current = [0] * len(members)
    for _ in range(total):
        current = [have + weight for have, weight in zip(current, weights, strict=True)]
        best = max(range(len(members)), key=current.__getitem__)
        current[best] -= total
        yield members[best]


class LeastOutstanding(Generic[MemberT]):
    """Take the members that have the fewest puts under way for their weight first."""

    def __init__(self, members: Sequence[MemberT]) -> None:
        self._members = list(members)
        self._turn = randrange(len(members)) if members else 0

    def take(self) -> MemberT | None:
        """Return the least busy member; None if there is none."""
        return next(self.order(), None)

    def order(self) -> Iterator[MemberT]:
        """Yield each member once, the least busy first; of several such, another one each time."""
        members = self._members
        if not members:
            return iter(())
        self._turn = turn = (self._turn + 1) % len(members)
        rotated = members[turn:] + members[:turn]
        return iter(sorted(rotated, key=_load))


def _load(member: Weighted) -> float:
    return member.outstanding / member.server.weight


def check_key(key: str | bytes) -> bytes:
    """Return a key as bytes; raise InvalidArgument if it is neither str nor bytes."""
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    raise InvalidArgument(f"a key must be a str or bytes, not {type(key).__name__}")


class Rendezvous(Generic[MemberT]):
    """Yield the members by their scores for a key."""

    def __init__(self, members: Iterable[MemberT]) -> None:
        self._members: list[tuple[Callable[[], Any], int, MemberT]] = [
            (_hash_of(member.server.name).copy, member.server.weight, member) for member in members
        ]

    def order(self, key: bytes) -> Iterator[MemberT]:
        """Yield each member once: the one that the key belongs to, and where it would go next."""
        scores = []
        for place, (copy, weight, member) in enumerate(self._members):
            digest = copy()
            digest.update(key)
            share = (int.from_bytes(digest.digest(), "big") + 1) / _LARGEST
            # -ln of an even share is exponential: the least of weight / that falls on each
            # member as often as its weight says.
            scores.append((-math.log(share) / weight if weight else math.inf, place, member))
        scores.sort(key=lambda score: score[:2])
        return iter([member for _, _, member in scores])


def _hash_of(name: str) -> Any:
    found = blake2b(digest_size=8)
    found.update(name.encode() + b"\0")
    return found
