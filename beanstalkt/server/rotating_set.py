"""A set whose order is that of beanstalkd's lists."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class RotatingSet(Generic[T]):
    """Keep distinct items in an order; add, remove and take each in O(1).

    When an item is removed, the last item moves to its index. Clients can see this order: in the
    lists of tubes (section 5.4), and in which of several waiting connections gets the next job
    (section 2.2).
    """

    __slots__ = ("_indexes", "_items", "_next_index")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._indexes: dict[T, int] = {}
        #: the index of the item that `take` removes next; past the end it starts again at 0
        self._next_index = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._indexes

    def add(self, item: T) -> None:
        """Append an item, unless the set contains it already."""
        if item not in self._indexes:
            self._indexes[item] = len(self._items)
            self._items.append(item)

    def remove(self, item: T) -> None:
        """Remove an item, if the set contains it."""
        index = self._indexes.pop(item, None)
        if index is None:
            return
        last = self._items.pop()
        if last is not item:
            self._items[index] = last
            self._indexes[last] = index

    def take(self) -> T:
        """Remove and return the next item in rotation. Raises IndexError if the set is empty."""
        if not self._items:
            raise IndexError("take from an empty set")
        index = self._next_index % len(self._items)
        self._next_index = index + 1
        item = self._items[index]
        self.remove(item)
        return item
