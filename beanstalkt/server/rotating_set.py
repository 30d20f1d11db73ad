"""A set in the order that beanstalkd gives its lists."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Bag(Generic[T]):
    """A set that adds, removes and takes in O(1).

    The last item moves to the place of one that is removed. This order shows: in the lists of
    tubes (section 5.4), and in whose turn it is of many that wait (section 2.2).
    """

    __slots__ = ("_items", "_places", "_turn")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._places: dict[T, int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._places

    def add(self, item: T) -> None:
        """Add the item at the end; nothing happens if it is in already."""
        if item not in self._places:
            self._places[item] = len(self._items)
            self._items.append(item)

    def remove(self, item: T) -> None:
        """Remove the item; nothing happens if it is not in."""
        place = self._places.pop(item, None)
        if place is None:
            return
        last = self._items.pop()
        if last is not item:
            self._items[place] = last
            self._places[last] = place

    def take(self) -> T:
        """Remove and return the item whose turn it is. Raises IndexError if there is none."""
        if not self._items:
            raise IndexError("take from an empty bag")
        place = self._turn % len(self._items)
        self._turn = place + 1
        item = self._items[place]
        self.remove(item)
        return item
