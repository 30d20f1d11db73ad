"""Make snapshots of readings: rates by comparing counters, and badges.

A reading is what a server said when it was asked; a snapshot is what that means next to the
readings before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..protocol.stats import Stats, StatsTube
from .snapshot import Badge, Head, Rates, ServerRates, Snapshot, TubeSample

RATE_WINDOW = 5.0
"""Seconds over which a rate is measured, where the readings are closer together than that."""

BADGE_SECONDS = 60.0
"""Seconds for which a badge about something that rises stays after the last rise."""

_RESERVES = ("cmd-reserve", "cmd-reserve-with-timeout", "cmd-reserve-job")


@dataclass(frozen=True)
class Reading:
    """Hold what a server said when it was asked once.

    :ivar time: when, in seconds since 1970
    :ivar clock: when, in seconds of a clock that never goes back
    :ivar took: seconds that it took to ask
    :ivar stats: the statistics of the server
    :ivar tubes: the statistics of each tube that was looked at, by name
    :ivar tube_count: how many tubes the server has
    :ivar left_out: how many more tubes would have been looked at without a limit
    :ivar heads: the next ready job of tubes, as far as these were looked at
    :ivar using: the tube that the asking connection itself uses
    :ivar watching: the tubes that the asking connection itself watches
    """

    time: float
    clock: float
    took: float
    stats: Stats
    tubes: Mapping[str, StatsTube]
    tube_count: int = 0
    left_out: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict)
    using: str = "default"
    watching: frozenset[str] = frozenset({"default"})


@dataclass(frozen=True)
class _Counters:
    """Keep of a reading what later ones are compared with."""

    clock: float
    server: tuple[int, int, int, int]  # put, deleted, reserves, timeouts
    tubes: dict[str, tuple[int, int]]  # put, deleted
    complete: bool  # whether all tubes were looked at: one that is not there is new


class Progression:
    """Make a snapshot of each reading of one server, by comparing it with those before.

    :param server: URL
    :param window: seconds over which rates are measured
    """

    def __init__(self, server: str, window: float = RATE_WINDOW) -> None:
        self._server = server
        self._window = window
        self._before: deque[_Counters] = deque()
        self._last: Reading | None = None
        self._buried: dict[str, float] = {}  # when the buried jobs of a tube last became more
        self._timed_out: float | None = None  # when jobs last timed out

    def down(self, error: str, time: float, clock: float, took: float) -> Snapshot:
        """Make the snapshot of a server that did not answer in time, or not at all."""
        return Snapshot(self._server, time, clock, up=False, error=error, took=took)

    def up(self, reading: Reading) -> Snapshot:
        """Make the snapshot of a reading, which becomes one of those that are compared with."""
        restarted = self._last is not None and is_restart(self._last.stats, reading.stats)
        if restarted:
            self._before.clear()
            self._buried.clear()
            self._last = self._timed_out = None
        counters = _counters(reading)
        base = self._base(reading.clock)
        self._note_rises(reading)
        snapshot = Snapshot(
            self._server,
            reading.time,
            reading.clock,
            up=True,
            took=reading.took,
            stats=reading.stats,
            tubes=self._tubes(reading, counters, base),
            tube_count=reading.tube_count,
            left_out=reading.left_out,
            rates=_server_rates(counters, base),
            badges=tuple(self._server_badges(reading)),
            restarted=restarted,
        )
        self._before.append(counters)
        self._last = reading
        return snapshot

    def _base(self, clock: float) -> _Counters | None:
        """Return what to compare with: the oldest in the window, or else the last one."""
        while len(self._before) > 1 and clock - self._before[0].clock > self._window:
            self._before.popleft()
        base = self._before[0] if self._before else None
        return base if base is not None and base.clock < clock else None

    def _note_rises(self, reading: Reading) -> None:
        last = self._last
        if last is None:
            return
        for name, stats in reading.tubes.items():
            before = last.tubes.get(name, stats)
            if stats.get("current-jobs-buried", 0) > before.get("current-jobs-buried", 0):
                self._buried[name] = reading.clock
        if reading.stats.get("job-timeouts", 0) > last.stats.get("job-timeouts", 0):
            self._timed_out = reading.clock
        since = reading.clock - BADGE_SECONDS
        self._buried = {name: when for name, when in self._buried.items() if when > since}
        if self._timed_out is not None and self._timed_out <= since:
            self._timed_out = None

    def _tubes(
        self, reading: Reading, counters: _Counters, base: _Counters | None
    ) -> dict[str, TubeSample]:
        no_workers = reading.stats.get("current-workers", 1) == 0
        found = {}
        for name, stats in reading.tubes.items():
            watching = stats.get("current-watching", 0) - (name in reading.watching)
            head = reading.heads.get(name)
            badges = []
            if stats.get("current-jobs-ready") and (no_workers or watching <= 0):
                badges.append(Badge.NO_WORKERS)
            if stats.get("pause"):
                badges.append(Badge.PAUSED)
            if name in self._buried and stats.get("current-jobs-buried"):
                badges.append(Badge.BURIED_RISING)
            if head is not None and head.timeouts:
                badges.append(Badge.TIMEOUTS)
            found[name] = TubeSample(
                name,
                stats,
                max(watching, 0),
                max(stats.get("current-using", 0) - (name == reading.using), 0),
                _tube_rates(name, counters, base),
                head,
                tuple(badges),
            )
        return found

    def _server_badges(self, reading: Reading) -> list[Badge]:
        stats = reading.stats
        badges = []
        if stats.get("draining"):
            badges.append(Badge.DRAINING)
        if stats.get("current-jobs-ready") and stats.get("current-workers", 1) == 0:
            badges.append(Badge.NO_WORKERS)
        if self._buried and stats.get("current-jobs-buried"):
            badges.append(Badge.BURIED_RISING)
        if self._timed_out is not None:
            badges.append(Badge.TIMEOUTS)
        return badges


def is_restart(before: Stats, now: Stats) -> bool:
    """Return whether these statistics are of two different processes of a server.

    A server's ``id`` tells that; very old ones have none, and there the uptime goes back.
    """
    if "id" in before and "id" in now:
        return before["id"] != now["id"]
    return now.get("uptime", 0) < before.get("uptime", 0)


def _counters(reading: Reading) -> _Counters:
    stats = reading.stats
    counted: Mapping[str, object] = stats
    reserves = sum(value for key in _RESERVES if isinstance(value := counted.get(key), int))
    return _Counters(
        reading.clock,
        (
            stats.get("total-jobs", 0),
            stats.get("cmd-delete", 0),
            reserves,
            stats.get("job-timeouts", 0),
        ),
        {
            name: (tube.get("total-jobs", 0), tube.get("cmd-delete", 0))
            for name, tube in reading.tubes.items()
        },
        len(reading.tubes) >= reading.tube_count,
    )


def _server_rates(now: _Counters, base: _Counters | None) -> ServerRates | None:
    if base is None:
        return None
    seconds = now.clock - base.clock
    into, out, reserves, timeouts = (
        _risen(was, is_) / seconds for was, is_ in zip(base.server, now.server, strict=True)
    )
    return ServerRates(into, out, reserves, timeouts)


def _tube_rates(name: str, now: _Counters, base: _Counters | None) -> Rates | None:
    if base is None:
        return None
    was = base.tubes.get(name, (0, 0) if base.complete else None)
    if was is None:
        return None
    seconds = now.clock - base.clock
    put, deleted = now.tubes[name]
    return Rates(_risen(was[0], put) / seconds, _risen(was[1], deleted) / seconds)


def _risen(was: int, is_: int) -> int:
    """Return by how much a counter rose. A smaller one began at 0 again, with its tube."""
    return is_ - was if is_ >= was else is_
