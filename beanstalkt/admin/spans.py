"""Sets of whole numbers that are mostly consecutive, such as the lines of a file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """A set of whole numbers that takes memory for each run of consecutive ones, not for each.

    :param numbers: in rising order
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for number in numbers:
            self._add(number, number)

    @classmethod
    def parse(cls, text: str) -> Spans:
        """Return the set that `text` writes, such as ``1-3, 7``; raise ValueError."""
        spans = cls()
        for part in text.split(", ") if text else ():
            first, dash, last = part.partition("-")
            spans._add(int(first), int(last if dash else first))
        return spans

    def text(self) -> str:
        """Return the set as text, such as ``1-3, 7``."""
        return ", ".join(
            str(first) if first == last else f"{first}-{last}" for first, last in self.runs()
        )

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last number of each run, in rising order."""
        return zip(self._firsts, self._lasts, strict=True)

    @property
    def last(self) -> int:
        """The highest number; 0 if there is none."""
        return self._lasts[-1] if self._lasts else 0

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs())

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs():
            yield from range(first, last + 1)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]

    def update(self, others: Spans) -> None:
        """Add the numbers of another set."""
        for first, last in others.runs():
            self._add(first, last)

    def remove(self, others: Spans) -> None:
        """Take out the numbers of another set, as far as they are in this one."""
        for first, last in others.runs():
            self._cut(first, last)

    def _add(self, first: int, last: int) -> None:
        # All runs that overlap this one or are next to it become one with it.
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def _cut(self, first: int, last: int) -> None:
        begin = bisect_left(self._lasts, first)
        end = bisect_right(self._firsts, last)
        if begin >= end:
            return
        left = [(self._firsts[begin], first - 1)] if self._firsts[begin] < first else []
        right = [(last + 1, self._lasts[end - 1])] if self._lasts[end - 1] > last else []
        kept = left + right
        self._firsts[begin:end] = [each for each, _ in kept]
        self._lasts[begin:end] = [each for _, each in kept]
