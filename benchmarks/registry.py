"""The measures, and the figures that are computed from them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Address = tuple[str, int]

BODY = b"x" * 100
"""The body of an ordinary job. It holds no newline: the bare socket counts lines."""

BIG_BODY = b"x" * 65535
"""The largest body that a server takes by default (protocol section 2.1)."""

TASKS = 200
"""The number of tasks that share one client."""


class Stopwatch:
    """Time the body of a ``with``, so that preparation and clean-up stay outside."""

    def __init__(self) -> None:
        self.seconds = 0.0  # of wall-clock time
        self.cpu = 0.0  # seconds of CPU time of this process, all threads together
        self.memory = 0.0  # megabytes, for a measure of memory
        self.counted = 0.0  # what a measure has counted for a figure

    def __enter__(self) -> Stopwatch:
        self._cpu = time.process_time()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
        self.cpu += time.process_time() - self._cpu


Run = Callable[[Address, int, Stopwatch], Awaitable[None] | None]
"""Do a number of jobs with the server at an address, timed by a stopwatch.

May be a coroutine function.
"""


@dataclass(frozen=True, eq=False)
class Measure:
    """Describe one line of the table."""

    #: The work, which is the same for all measures that are compared with each other.
    group: str
    #: Who does the work, and how.
    name: str
    #: Do the work.
    run: Run
    #: The number of commands for each job.
    commands: int
    #: The share of the jobs asked for with --jobs: less than 1 for slow work.
    share: float
    #: The number of tubes on the server. With 0, each round gets a new, empty server.
    tubes: int

    @property
    def title(self) -> str:
        """Return the full name of the measure."""
        return f"{self.group}: {self.name}"


@dataclass(frozen=True)
class Sample:
    """Hold the result of one measure in one round."""

    jobs: int
    commands: int
    seconds: float
    cpu: float
    memory: float = 0.0
    counted: float = 0.0

    @property
    def rate(self) -> float:
        """Return the jobs per second."""
        return self.jobs / self.seconds

    @property
    def cpu_per_command(self) -> float:
        """Return the CPU time of the measuring process per command, in microseconds."""
        return self.cpu / self.commands * 1e6


Round = dict[Measure, Sample]
"""One sample of every measure. They are taken in a row, so that ratios within a round are fair."""


@dataclass(frozen=True)
class Figure:
    """Describe a value that is computed from each round, and its target."""

    name: str
    target: float
    at_least: bool
    #: Compute the value; raise KeyError if one of its measures is not in the round.
    value: Callable[[Round], float]

    def reached(self, value: float) -> bool:
        """Return whether `value` reaches the target."""
        return value >= self.target if self.at_least else value <= self.target


MEASURES: list[Measure] = []
FIGURES: list[Figure] = []


def measure(
    group: str, name: str, *, commands: int = 1, share: float = 1.0, tubes: int = 0
) -> Callable[[Run], Measure]:
    """Make a measure, a line of the table, of the decorated function."""

    def register(run: Run) -> Measure:
        made = Measure(group, name, run, commands, share, tubes)
        MEASURES.append(made)
        return made

    return register


def at_least(target: float, name: str, value: Callable[[Round], float]) -> None:
    """Print `name` as a figure that should not be below `target`."""
    FIGURES.append(Figure(name, target, True, value))


def at_most(target: float, name: str, value: Callable[[Round], float]) -> None:
    """Print `name` as a figure that should not be above `target`."""
    FIGURES.append(Figure(name, target, False, value))


def rate(one: Measure, other: Measure) -> Callable[[Round], float]:
    """Return a function of a round: the speed of `one` divided by that of `other`."""
    return lambda samples: samples[one].rate / samples[other].rate


def cpu(one: Measure, other: Measure) -> Callable[[Round], float]:
    """Return a function of a round: the CPU time per command of `one` divided by `other`'s."""
    return lambda samples: samples[one].cpu_per_command / samples[other].cpu_per_command
