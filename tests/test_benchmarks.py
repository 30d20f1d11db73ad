"""The arithmetic and the table of the benchmark. No test depends on the measured rates."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby

import pytest

from benchmarks import table
from benchmarks.__main__ import chosen, main
from benchmarks.registry import MEASURES, Address, Figure, Measure, Round, Sample, Stopwatch, rate

from .support.beanstalkd import EXECUTABLE


def nothing(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Stand for the function of a measure that is never run."""


SLOW = Measure("work", "slow", nothing, 2, 1.0, 0)
FAST = Measure("work", "fast", nothing, 2, 1.0, 0)


def samples(slow: float, fast: float) -> Round:
    """A round in which the measures took so many seconds for 1,000 jobs."""
    return {SLOW: Sample(1000, 2000, slow, 0.01), FAST: Sample(1000, 2000, fast, 0.02)}


def test_a_sample_counts_jobs_a_second_and_microseconds_a_command() -> None:
    sample = Sample(jobs=1000, commands=2000, seconds=0.5, cpu=0.1)
    assert sample.rate == 2000
    assert sample.cpu_per_command == pytest.approx(50)


def test_ratios_are_taken_within_a_round() -> None:
    # The machine slows down to a tenth after the first round. The ratio of the medians is 4.
    rounds = [samples(1.0, 0.5), samples(10.0, 5.0), samples(10.0, 2.5)]
    _, _, slow, fast, *_ = table.lines([SLOW, FAST], [], rounds)
    assert slow.split() == ["slow", "100", "1.00", "5.0"]
    assert fast.split() == ["fast", "400", "2.00", "10.0"]


def test_figures_stand_beside_their_targets() -> None:
    rounds = [samples(1.0, 0.5), samples(1.0, 0.4), samples(1.0, 0.25)]
    good = Figure("good", 2.0, True, rate(FAST, SLOW))
    short = Figure("short", 2.0, False, rate(FAST, SLOW))
    lines = list(table.lines([SLOW, FAST], [good, short], rounds))
    assert "good ≥ 2.00 2.50 2.00 4.00" in [" ".join(line.split()) for line in lines]
    assert "short ≤ 2.00 2.50 2.00 4.00 not reached" in [" ".join(x.split()) for x in lines]


def test_what_was_skipped_says_so_and_makes_no_figure() -> None:
    rounds = [{SLOW: samples(1.0, 0.5)[SLOW]}]
    text = "\n".join(table.lines([SLOW, FAST], [Figure("f", 1, True, rate(FAST, SLOW))], rounds))
    assert "skipped" in text
    assert "figures" not in text


def test_a_group_stands_together() -> None:
    measures = chosen([])
    groups = [group for group, _ in groupby(measures, lambda measure: measure.group)]
    assert len(measures) == len(MEASURES)
    assert len(groups) == len(set(groups))


def test_the_other_clients_are_not_needed_to_import_it() -> None:
    code = (
        "import sys, benchmarks.__main__\n"
        "sys.exit(bool({'aiostalk', 'greenstalk'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


@pytest.mark.skipif(EXECUTABLE is None, reason="beanstalkd is not installed")
def test_it_measures_prints_and_cleans_up(capsys: pytest.CaptureFixture[str]) -> None:
    # A socket or process that is left behind is a ResourceWarning, which is an error.
    main(["--rounds", "2", "--jobs", "300", "--only", "bare socket", "--only", "this client"])
    out = capsys.readouterr().out
    assert "bare socket, all written ahead" in out
    assert "put from 200 tasks, against the bare socket" in out
    assert "skipped" not in out


def test_a_name_that_nothing_has_is_answered_with_the_names() -> None:
    with pytest.raises(SystemExit, match="put: bare socket"):
        main(["--only", "no such measure"])
