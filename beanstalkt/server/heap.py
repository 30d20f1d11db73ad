"""A priority queue from whose middle items can be removed."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Heap(Generic[T]):
    """Order items by a key, and equal keys by a number that is unique to each item.

    :meth:`push`, :meth:`pop` and :meth:`discard` take O(log n) on average. The entry of a
    discarded item stays in the list until it reaches the top, or until half of the list consists
    of such entries. So the memory used is proportional to the number of items.
    """

    __slots__ = ("_current", "_entries")

    def __init__(self) -> None:
        #: the heap in the sense of heapq; some of its entries may be obsolete
        self._entries: list[tuple[float, int, T]] = []
        #: the one valid entry of each item, by the item's number
        self._current: dict[int, tuple[float, int, T]] = {}

    def __len__(self) -> int:
        return len(self._current)

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items in the order of their first insertion, whatever their keys."""
        return (item for _, _, item in self._current.values())

    def push(self, key: float, number: int, item: T) -> None:
        """Add an item, or give an item that is present another key."""
        moved = number in self._current
        entry = (key, number, item)
        self._current[number] = entry
        heappush(self._entries, entry)
        if moved:
            self._compact()

    def discard(self, number: int) -> None:
        """Remove the item with this number, if it is present."""
        if self._current.pop(number, None) is not None:
            self._compact()

    def first(self) -> T | None:
        """Return the item with the smallest key, or None if the heap is empty."""
        entry = self._first()
        return entry[2] if entry else None

    def first_key(self) -> float | None:
        """Return the smallest key, or None if the heap is empty."""
        # Most heaps of an engine are empty, and each is asked this with every command.
        entry = self._first() if self._current else None
        return entry[0] if entry else None

    def pop(self) -> T:
        """Remove and return the item with the smallest key. Raises IndexError if there is none."""
        entry = self._first()
        if entry is None:
            raise IndexError("pop from an empty heap")
        heappop(self._entries)
        del self._current[entry[1]]
        return entry[2]

    def _first(self) -> tuple[float, int, T] | None:
        entries, current = self._entries, self._current
        while entries:
            entry = entries[0]
            if current.get(entry[1]) is entry:
                return entry
            heappop(entries)
        return None

    def _compact(self) -> None:
        if len(self._entries) > 2 * len(self._current) + 32:
            self._entries = list(self._current.values())
            heapify(self._entries)
