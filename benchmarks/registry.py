"""What can be measured: the measures, and the figures that are worked out of them."""

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


class Stopwatch:
    """Times the body of a ``with``: setting up and cleaning up stay outside."""

    def __init__(self) -> None:
        self.seconds = 0.0  # on the clock
        self.cpu = 0.0  # seconds that this process, all its threads, was running
        self.memory = 0.0  # megabytes, for a measure that is about them

    def __enter__(self) -> Stopwatch:
        self._cpu = time.process_time()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
        self.cpu += time.process_time() - self._cpu


Run = Callable[[Address, int, Stopwatch], Awaitable[None] | None]
"""Does so many jobs at that address, timed by that stopwatch. May be a coroutine function."""


@dataclass(frozen=True, eq=False)
class Measure:
    """One line of the table."""

    #: the work, the same for all that are compared with each other
    group: str
    #: who does it, and how
    name: str
    run: Run
    #: commands for each job
    commands: int
    #: of the jobs asked for with --jobs; less for what is slow
    share: float
    #: tubes that exist on the server; it is an empty one, fresh each time, when there are none
    tubes: int

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"


@dataclass(frozen=True)
class Sample:
    """What one measure came to in one round."""

    jobs: int
    commands: int
    seconds: float
    cpu: float
    memory: float = 0.0

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def cpu_per_command(self) -> float:
        """Microseconds of this process."""
        return self.cpu / self.commands * 1e6


Round = dict[Measure, Sample]
"""One sample of every measure, taken one after another, so that a ratio within it is fair."""


@dataclass(frozen=True)
class Figure:
    """A value worked out of each round, with the target it is printed beside."""

    name: str
    target: float
    at_least: bool
    #: may raise KeyError: one of its measures was left out
    value: Callable[[Round], float]

    def reached(self, value: float) -> bool:
        return value >= self.target if self.at_least else value <= self.target


MEASURES: list[Measure] = []
FIGURES: list[Figure] = []


def measure(
    group: str, name: str, *, commands: int = 1, share: float = 1.0, tubes: int = 0
) -> Callable[[Run], Measure]:
    """Make a line of the table of a function."""

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
    """How many times as fast as `other` `one` is."""
    return lambda samples: samples[one].rate / samples[other].rate


def cpu(one: Measure, other: Measure) -> Callable[[Round], float]:
    """How many times the processor time of `other` `one` takes for a command."""
    return lambda samples: samples[one].cpu_per_command / samples[other].cpu_per_command
