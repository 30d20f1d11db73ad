"""What is known of a server at one moment: counts, rates, and what deserves attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from ..protocol.stats import Stats, StatsTube


class Badge(str, Enum):
    """Say what deserves attention at a tube or a server."""

    #: jobs are ready, and no connection would reserve them
    NO_WORKERS = "no workers"
    #: no job of the tube can be reserved for a while
    PAUSED = "paused"
    #: jobs were buried within the last minute
    BURIED_RISING = "buried rising"
    #: of a server: jobs timed out within the last minute; of a tube: its next job has before
    TIMEOUTS = "timeouts"
    #: the server takes no new jobs
    DRAINING = "draining"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Rates:
    """Hold how many jobs a second came and went.

    :ivar into: jobs that were put
    :ivar out: jobs that were deleted
    """

    into: float
    out: float


@dataclass(frozen=True, slots=True)
class ServerRates(Rates):
    """Hold how many jobs a second came and went at a server, and what else was counted there.

    :ivar reserves: commands to reserve a job, whether or not they were given one
    :ivar timeouts: jobs that were not settled in their time to run
    """

    reserves: float
    timeouts: float


@dataclass(frozen=True, slots=True)
class Head:
    """Hold what is known of the next ready job of a tube.

    :ivar id: its id
    :ivar age: seconds since it was put
    :ivar timeouts: how often it was not settled in its time to run
    """

    id: int
    age: int
    timeouts: int


@dataclass(frozen=True, slots=True)
class TubeSample:
    """Hold what is known of a tube at one moment.

    :ivar name: its name
    :ivar stats: its statistics, as the server gave them
    :ivar watching: connections that would take its jobs, without the sampler's own
    :ivar using: connections that put into it, without the sampler's own
    :ivar rates: None at first, when there is nothing to compare with
    :ivar head: the next ready job; None if there is none, or it was not looked at
    :ivar badges: what deserves attention
    """

    name: str
    stats: StatsTube
    watching: int
    using: int
    rates: Rates | None = None
    head: Head | None = None
    badges: tuple[Badge, ...] = ()

    @property
    def ready(self) -> int:
        """The number of jobs that can be reserved, urgent ones included."""
        return self.stats.get("current-jobs-ready", 0)

    @property
    def urgent(self) -> int:
        """The number of ready jobs with a priority below 1024."""
        return self.stats.get("current-jobs-urgent", 0)

    @property
    def reserved(self) -> int:
        """The number of jobs that workers hold."""
        return self.stats.get("current-jobs-reserved", 0)

    @property
    def delayed(self) -> int:
        """The number of jobs that become ready later."""
        return self.stats.get("current-jobs-delayed", 0)

    @property
    def buried(self) -> int:
        """The number of jobs that were put aside."""
        return self.stats.get("current-jobs-buried", 0)

    @property
    def waiting(self) -> int:
        """The number of connections that wait for a job."""
        return self.stats.get("current-waiting", 0)

    @property
    def total(self) -> int:
        """The number of jobs that were ever put into the tube, as long as it exists."""
        return self.stats.get("total-jobs", 0)

    @property
    def paused_for(self) -> int:
        """Seconds for which no job can be reserved; 0: the tube is not paused."""
        return self.stats.get("pause-time-left", 0) if self.stats.get("pause") else 0

    @property
    def drain_seconds(self) -> float | None:
        """Seconds until no job is ready, at the present rates.

        None if there are no rates yet, or if jobs do not go faster than they come.
        """
        return seconds_to_drain(self.ready, self.rates)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold what is known of a server at one moment.

    :ivar server: its URL
    :ivar time: when, in seconds since 1970
    :ivar clock: when, in seconds of a clock that never goes back
    :ivar up: whether the server answered completely and in time
    :ivar error: why it did not; None if it did
    :ivar took: seconds that it took to ask the server
    :ivar stats: the server's statistics, as it gave them; empty if it is not up
    :ivar tubes: what is known of each tube that was looked at, by name
    :ivar tube_count: how many tubes the server has
    :ivar left_out: tubes that the filter's patterns chose, but its limit left out
    :ivar rates: None at first, after a restart, and if the server is not up
    :ivar badges: what deserves attention at the server itself
    :ivar restarted: whether the server is another process than in the snapshot before
    """

    server: str
    time: float
    clock: float
    up: bool
    error: str | None = None
    took: float = 0.0
    stats: Stats = field(default_factory=lambda: cast("Stats", {}))
    tubes: Mapping[str, TubeSample] = field(default_factory=dict)
    tube_count: int = 0
    left_out: int = 0
    rates: ServerRates | None = None
    badges: tuple[Badge, ...] = ()
    restarted: bool = False

    @property
    def drain_seconds(self) -> float | None:
        """Seconds until no job of the server is ready, as for a tube."""
        return seconds_to_drain(self.stats.get("current-jobs-ready", 0), self.rates)


def seconds_to_drain(ready: int, rates: Rates | None) -> float | None:
    """Return the seconds until `ready` jobs are gone at these rates; None if they will not be."""
    if not ready:
        return 0.0
    if rates is None or rates.out <= rates.into:
        return None
    return ready / (rates.out - rates.into)
