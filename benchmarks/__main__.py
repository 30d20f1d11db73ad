"""Run the measures in rounds and print the table: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import tornado

from tests.support.beanstalkd import EXECUTABLE

from . import figures, table  # noqa: F401 - figures imports every module with measures
from .registry import FIGURES, MEASURES, Measure, Round, Sample, Stopwatch
from .servers import Servers

LIMIT = 60
"""Seconds that a measure may take in one round; one that takes longer has hung."""


def main(arguments: list[str] | None = None) -> None:
    """Run the measures that the arguments choose and print the table."""
    options = parse(arguments)
    if EXECUTABLE is None:
        sys.exit("beanstalkd is not installed: install it to have a server to measure against")
    measures = chosen(options.only)
    if not measures:
        names = "\n  ".join(measure.title for measure in MEASURES)
        sys.exit(f"no measure's name contains {' or '.join(options.only)}; there are\n  {names}")
    print(describe(EXECUTABLE, options), flush=True)
    rounds: list[Round] = []
    with Servers() as servers:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            # Every other round runs backwards, so that no measure always follows the same one.
            order = measures[:: -1 if number % 2 else 1]
            rounds.append(run_round(order, options.jobs, servers))
    print("\n".join(table.lines(measures, FIGURES, rounds)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="default: 5")
    parser.add_argument(
        "--jobs",
        type=positive,
        default=40_000,
        metavar="N",
        help="jobs of a measure in a round; a slow measure does a share of them (default: 40000)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="run only measures whose name contains NAME; may be repeated",
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("not positive")
    return number


def chosen(names: list[str]) -> list[Measure]:
    """Return the measures whose name contains one of `names`, those of a group together."""
    groups = list(dict.fromkeys(measure.group for measure in MEASURES))
    wanted = [name.lower() for name in names] or [""]
    return sorted(
        (m for m in MEASURES if any(name in m.title.lower() for name in wanted)),
        key=lambda measure: groups.index(measure.group),
    )


def describe(executable: str, options: argparse.Namespace) -> str:
    server = subprocess.run([executable, "-v"], capture_output=True, text=True, check=False)
    return (
        f"{server.stdout.strip()}, Python {platform.python_version()}, Tornado {tornado.version}; "
        f"medians of {options.rounds} rounds, {options.jobs:,} jobs\n"
    )


def run_round(measures: list[Measure], jobs: int, servers: Servers) -> Round:
    """Take one sample of each measure; skip a measure whose client is not installed."""
    samples: Round = {}
    for measure in measures:
        try:
            samples[measure] = run(measure, max(1, round(jobs * measure.share)), servers)
        except ModuleNotFoundError as error:
            print(f"{measure.title}: skipped, {error}", file=sys.stderr)
    return samples


def run(measure: Measure, jobs: int, servers: Servers) -> Sample:
    """Take one sample of a measure."""
    watch = Stopwatch()
    with servers.serving(measure.tubes) as address, time_limit(measure):
        # The garbage of the measure before must not slow this one down.
        gc.collect()
        running = measure.run(address, jobs, watch)
        if inspect.iscoroutine(running):
            asyncio.run(running)
    return Sample(
        jobs, jobs * measure.commands, watch.seconds, watch.cpu, watch.memory, watch.counted
    )


@contextmanager
def time_limit(measure: Measure) -> Iterator[None]:
    """Raise TimeoutError in the body of a ``with`` that takes longer than `LIMIT` seconds."""

    # A signal ends blocking sockets and event loops alike, and costs them nothing.
    def expired(*_: object) -> NoReturn:
        raise TimeoutError(f"{measure.title}: took more than {LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def terminated(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # By default SIGTERM would end this process at once, and leave its servers running.
    signal.signal(signal.SIGTERM, terminated)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
