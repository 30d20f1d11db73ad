"""The last snapshots of a server in little memory, for charts."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import InvalidArgument
from .snapshot import Rates, Snapshot, TubeSample

DEFAULT_LENGTH = 300
"""Snapshots that are kept: five minutes, one a second."""


class Point(NamedTuple):
    """Hold the numbers of a server or a tube at one moment.

    What was not known is NaN: all of it while the server is down, or while there is no such tube.

    :ivar time: seconds since 1970
    :ivar into: jobs put a second
    :ivar out: jobs deleted a second
    """

    time: float
    into: float = math.nan
    out: float = math.nan
    ready: float = math.nan
    reserved: float = math.nan
    delayed: float = math.nan
    buried: float = math.nan
    waiting: float = math.nan
    head_age: float = math.nan


_WIDTH = len(Point._fields) - 1  # without the time, which all rows of a snapshot share
_UNKNOWN = (math.nan,) * _WIDTH


class _Series:
    """Keep rows of numbers by tick, each only where it differs from the one before."""

    __slots__ = ("_last", "_rows", "_ticks")

    def __init__(self) -> None:
        self._ticks = array("Q")
        self._rows = array("f")  # exact up to 16 million jobs, which is enough for a chart
        self._last: tuple[float, ...] = _UNKNOWN

    def add(self, tick: int, row: tuple[float, ...], oldest: int) -> None:
        # NaN differs from NaN, but tuples compare what is one object as equal: math.nan is one.
        if row != self._last:
            self._last = row
            self._ticks.append(tick)
            self._rows.extend(row)
            if len(self._ticks) > 64:
                self.forget(oldest)

    def forget(self, oldest: int) -> None:
        """Drop the rows before tick `oldest` but the last of them, which still holds there."""
        gone = 0
        while gone + 1 < len(self._ticks) and self._ticks[gone + 1] <= oldest:
            gone += 1
        # A few at a time would copy the rest each time.
        if gone > len(self._ticks) // 4:
            del self._ticks[:gone]
            del self._rows[: gone * _WIDTH]

    def rows(self, first: int, count: int) -> Iterator[tuple[float, ...]]:
        place, row = -1, _UNKNOWN
        for tick in range(first, first + count):
            while place + 1 < len(self._ticks) and self._ticks[place + 1] <= tick:
                place += 1
                row = tuple(self._rows[place * _WIDTH : (place + 1) * _WIDTH])
            yield row

    def known(self) -> bool:
        """Return whether the newest row is known."""
        return self._last is not _UNKNOWN

    def ended_before(self, oldest: int) -> bool:
        """Return whether nothing is known since tick `oldest`."""
        return not self.known() and (not self._ticks or self._ticks[-1] <= oldest)


class History:
    """Keep the numbers of the last snapshots of one server, and of each of its tubes.

    A tube without changes takes next to no memory, and one that changes all the time some 10 KB.

    :param length: the number of snapshots; 0 keeps none

    Raises InvalidArgument.
    """

    def __init__(self, length: int = DEFAULT_LENGTH) -> None:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise InvalidArgument(
                f"the length of a history must be an int, 0 or more, not {length!r}"
            )
        self.length = length
        self._times: deque[float] = deque(maxlen=length)
        self._tick = 0  # the number of the next snapshot
        self._server = _Series()
        self._tubes: dict[str, _Series] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, snapshot: Snapshot) -> None:
        """Keep the numbers of a snapshot; forget the oldest one if there are too many."""
        if not self.length:
            return
        tick, self._tick = self._tick, self._tick + 1
        self._times.append(snapshot.time)
        oldest = self._tick - len(self._times)
        self._server.add(tick, _server_row(snapshot), oldest)
        tubes = self._tubes
        for name, sample in snapshot.tubes.items():
            series = tubes.get(name)
            if series is None:
                series = tubes[name] = _Series()
            series.add(tick, _tube_row(sample), oldest)
        if len(tubes) != len(snapshot.tubes):
            self._end(snapshot, tick, oldest)

    def server(self) -> list[Point]:
        """Return the numbers of the server, the oldest first."""
        return self._points(self._server)

    def tube(self, name: str) -> list[Point]:
        """Return the numbers of a tube, the oldest first; of an unknown one all are NaN."""
        return self._points(self._tubes.get(name) or _Series())

    def tubes(self) -> list[str]:
        """Return the names of the tubes of which anything is kept."""
        return list(self._tubes)

    def _end(self, snapshot: Snapshot, tick: int, oldest: int) -> None:
        """Note which tubes are not in the snapshot, and forget those that are long gone."""
        for name in [name for name in self._tubes if name not in snapshot.tubes]:
            series = self._tubes[name]
            if series.known():
                series.add(tick, _UNKNOWN, oldest)
            elif series.ended_before(oldest):
                del self._tubes[name]

    def _points(self, series: _Series) -> list[Point]:
        rows = series.rows(self._tick - len(self._times), len(self._times))
        return [Point(time, *row) for time, row in zip(self._times, rows, strict=True)]


def _tube_row(sample: TubeSample) -> tuple[float, ...]:
    age = math.nan if sample.head is None else sample.head.age
    numbers = (sample.ready, sample.reserved, sample.delayed, sample.buried, sample.waiting)
    return _row(sample.rates, numbers, age)


def _server_row(snapshot: Snapshot) -> tuple[float, ...]:
    if not snapshot.up:
        return _UNKNOWN
    stats = snapshot.stats
    numbers = (
        stats.get("current-jobs-ready", 0),
        stats.get("current-jobs-reserved", 0),
        stats.get("current-jobs-delayed", 0),
        stats.get("current-jobs-buried", 0),
        stats.get("current-waiting", 0),
    )
    return _row(snapshot.rates, numbers, math.nan)


def _row(rates: Rates | None, numbers: Iterable[int], age: float) -> tuple[float, ...]:
    into, out = (math.nan, math.nan) if rates is None else (rates.into, rates.out)
    return (into, out, *numbers, age)
