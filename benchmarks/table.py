"""Format the table: the medians of all rounds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from statistics import median

from .registry import Figure, Measure, Round, rate

NAME = 62
"""The width of the column of names."""


def lines(measures: list[Measure], figures: list[Figure], rounds: list[Round]) -> Iterator[str]:
    """Yield the lines of the table. A measure that is not in any round was skipped."""
    yield f"{'':{NAME}}{'jobs/s':>10}{'ratio':>8}{'CPU µs':>9}"
    for group, members in groupby(measures, lambda measure: measure.group):
        yield group
        yield from _group(list(members), rounds)
    shown = [line for figure in figures for line in _figure(figure, rounds)]
    if shown:
        yield ""
        yield f"{'figures to reach':{NAME}}{'target':>10}{'median':>8}{'lowest':>9}{'highest':>9}"
        yield from shown
    yield ""
    yield "ratio: of the jobs/s of the first in the group, within a round"
    yield "CPU µs: processor time of the measuring process for a command"


def _group(measures: list[Measure], rounds: list[Round]) -> Iterator[str]:
    for measure in measures:
        name = f"  {measure.name}"
        samples = [samples[measure] for samples in rounds if measure in samples]
        if not samples:
            yield f"{name:{NAME}}{'skipped':>10}"
            continue
        speed = median(sample.rate for sample in samples)
        ratio = _values(Figure("", 0, True, rate(measure, measures[0])), rounds)
        cpu = median(sample.cpu_per_command for sample in samples)
        shown = f"{median(ratio):.2f}" if ratio else "-"
        yield f"{name:{NAME}}{speed:>10,.0f}{shown:>8}{cpu:>9,.1f}"


def _figure(figure: Figure, rounds: list[Round]) -> Iterator[str]:
    values = _values(figure, rounds)
    if not values:
        return
    target = f"{'≥' if figure.at_least else '≤'} {figure.target:.2f}"
    measured = median(values)
    short = "" if figure.reached(measured) else "  not reached"
    yield (
        f"  {figure.name:{NAME - 2}}{target:>10}{measured:>8.2f}"
        f"{min(values):>9.2f}{max(values):>9.2f}{short}"
    )


def _values(figure: Figure, rounds: list[Round]) -> list[float]:
    """Return the value of a figure in each round that holds all its measures."""
    values = []
    for samples in rounds:
        try:
            values.append(figure.value(samples))
        except KeyError:
            continue
    return values
