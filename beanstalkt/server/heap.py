"""A priority queue whose items can be taken from its middle."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Heap(Generic[T]):
    """Items in the order of a key, then of a number that is the item's own.

    :meth:`push`, :meth:`pop` and :meth:`discard` are O(log n) on average. What is discarded stays
    in the queue until it comes up, or until half of the queue is such waste; so memory is
    bounded by the live items.
    """

    __slots__ = ("_entries", "_live")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, T]] = []
        self._live: dict[int, tuple[float, int, T]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[T]:
        """The items in the order in which they first came in, whatever their keys."""
        return (item for _, _, item in self._live.values())

    def push(self, key: float, number: int, item: T) -> None:
        """Add the item, or move it to another key."""
        moved = number in self._live
        entry = (key, number, item)
        self._live[number] = entry
        heappush(self._entries, entry)
        if moved:
            self._compact()

    def discard(self, number: int) -> None:
        """Take the item with this number out; nothing happens if it is not in."""
        if self._live.pop(number, None) is not None:
            self._compact()

    def first(self) -> T | None:
        """The item with the smallest key."""
        entry = self._first()
        return entry[2] if entry else None

    def first_key(self) -> float | None:
        """The smallest key."""
        entry = self._first()
        return entry[0] if entry else None

    def pop(self) -> T:
        """Take out the item with the smallest key. Raises IndexError if there is none."""
        entry = self._first()
        if entry is None:
            raise IndexError("pop from an empty heap")
        heappop(self._entries)
        del self._live[entry[1]]
        return entry[2]

    def _first(self) -> tuple[float, int, T] | None:
        entries, live = self._entries, self._live
        while entries:
            entry = entries[0]
            if live.get(entry[1]) is entry:
                return entry
            heappop(entries)
        return None

    def _compact(self) -> None:
        if len(self._entries) > 2 * len(self._live) + 32:
            self._entries = list(self._live.values())
            heapify(self._entries)
