"""What snapshots say of readings: rates by comparison, and what deserves attention."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.admin import Badge, Head, Rates, Snapshot
from beanstalkt.admin.rates import Progression, is_restart
from beanstalkt.admin.snapshot import seconds_to_drain
from beanstalkt.protocol.stats import StatsTube
from tests.support.readings import reading_of, stats_of, tube_of


def after(*readings: tuple[float, StatsTube]) -> Snapshot:
    """The snapshot of the last of these readings of one tube."""
    progression = Progression("beanstalk://x")
    return [progression.up(reading_of(clock, {"t": tube})) for clock, tube in readings][-1]


def test_the_first_snapshot_has_no_rates() -> None:
    snapshot = after((0, tube_of(5, 3)))
    assert snapshot.rates is None
    assert snapshot.tubes["t"].rates is None
    assert snapshot.up
    assert not snapshot.restarted


def test_rates_are_jobs_a_second() -> None:
    assert after((0, tube_of(5, 3)), (2, tube_of(25, 4))).tubes["t"].rates == Rates(10, 0.5)


def test_rates_are_measured_over_some_seconds() -> None:
    """A job every other second must not flicker between none and one a second."""
    readings = [(float(clock), tube_of(clock // 2)) for clock in range(21)]
    rates = after(*readings).tubes["t"].rates
    assert rates is not None
    assert rates.into == pytest.approx(0.5, abs=0.11)


def test_readings_far_apart_are_compared_with_the_last_one() -> None:
    readings = [(0.0, tube_of(0)), (60.0, tube_of(600)), (120.0, tube_of(720))]
    assert after(*readings).tubes["t"].rates == Rates(2, 0)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 10**6)), min_size=1))
def test_rates_add_up(steps: list[tuple[float, int]]) -> None:
    """No job is counted twice or forgotten, however far apart the readings are."""
    progression = Progression("beanstalk://x", window=1e-9)
    clock, put, summed = 0.0, 0, 0.0
    progression.up(reading_of(clock, {"t": tube_of(put)}))
    for seconds, more in steps:
        before, clock, put = clock, clock + seconds, put + more
        rates = progression.up(reading_of(clock, {"t": tube_of(put)})).tubes["t"].rates
        assert rates is not None
        assert rates.into >= 0
        summed += rates.into * (clock - before)
    assert summed == pytest.approx(put)


def test_a_tube_that_appears_has_put_all_its_jobs_since() -> None:
    progression = Progression("beanstalk://x")
    progression.up(reading_of(0))
    new = progression.up(reading_of(2, {"t": tube_of(10)}))
    assert new.tubes["t"].rates == Rates(5, 0)


def test_a_tube_that_a_limit_left_out_before_is_not_taken_for_a_new_one() -> None:
    progression = Progression("beanstalk://x")
    progression.up(reading_of(0, tube_count=1, left_out=1))
    assert progression.up(reading_of(2, {"t": tube_of(10)})).tubes["t"].rates is None


def test_a_tube_that_went_and_came_counts_from_0_again() -> None:
    assert after((0, tube_of(100, 90)), (2, tube_of(10, 8))).tubes["t"].rates == Rates(5, 4)


def test_the_server_has_rates_of_its_own() -> None:
    progression = Progression("beanstalk://x")
    progression.up(reading_of(0, stats=stats_of(1, 1, cmd_reserve=5, job_timeouts=3)))
    later = stats_of(21, 11, cmd_reserve=7, cmd_reserve_with_timeout=2, job_timeouts=4)
    rates = progression.up(reading_of(2, stats=later)).rates
    assert rates is not None
    assert (rates.into, rates.out, rates.reserves, rates.timeouts) == (10, 5, 2, 0.5)


def test_a_restart_begins_everything_anew() -> None:
    progression = Progression("beanstalk://x")
    progression.up(reading_of(0, {"t": tube_of(9)}, stats_of(9)))
    other = progression.up(reading_of(1, {"t": tube_of(20)}, stats_of(20, id="b")))
    assert other.restarted
    assert other.rates is None
    assert other.tubes["t"].rates is None
    again = progression.up(reading_of(2, {"t": tube_of(21)}, stats_of(21, id="b")))
    assert not again.restarted
    assert again.tubes["t"].rates == Rates(1, 0)


def test_a_server_without_an_id_is_known_by_its_uptime() -> None:
    def stats(**found: Any) -> Any:
        return found

    assert is_restart(stats(uptime=50), stats(uptime=3))
    assert not is_restart(stats(uptime=50), stats(uptime=51))
    assert not is_restart(stats(id="a", uptime=50), stats(id="a", uptime=3))


def test_a_server_that_was_down_goes_on_with_its_counters() -> None:
    progression = Progression("beanstalk://x")
    progression.up(reading_of(0, {"t": tube_of(0)}))
    down = progression.down("gone", 1e9, 1, 3.0)
    assert (down.up, down.error, down.took) == (False, "gone", 3.0)
    assert dict(down.tubes) == {}
    assert progression.up(reading_of(10, {"t": tube_of(10)})).tubes["t"].rates == Rates(1, 0)


# --- badges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tube", "stats", "badges"),
    [
        ({"current_jobs_ready": 1}, {}, ()),
        ({"current_jobs_ready": 1, "current_watching": 0}, {}, (Badge.NO_WORKERS,)),
        ({"current_jobs_ready": 1}, {"current_workers": 0}, (Badge.NO_WORKERS,)),
        ({"current_jobs_ready": 0, "current_watching": 0}, {}, ()),
        ({"pause": 60, "pause_time_left": 5}, {}, (Badge.PAUSED,)),
    ],
)
def test_badges_of_a_tube(
    tube: dict[str, int], stats: dict[str, int], badges: tuple[Badge, ...]
) -> None:
    reading = reading_of(0, {"t": tube_of(**tube)}, stats_of(**stats))
    assert Progression("beanstalk://x").up(reading).tubes["t"].badges == badges


def test_the_connection_that_asks_is_no_worker() -> None:
    tube = tube_of(current_jobs_ready=1, current_using=2)
    reading = reading_of(0, {"t": tube}, using="t", watching=frozenset({"t"}))
    sample = Progression("beanstalk://x").up(reading).tubes["t"]
    assert (sample.watching, sample.using) == (0, 1)
    assert sample.badges == (Badge.NO_WORKERS,)


def test_the_badge_of_buried_jobs_stays_for_a_minute_after_the_last_rise() -> None:
    progression = Progression("beanstalk://x")

    def badges(clock: float, buried: int) -> tuple[Badge, ...]:
        snapshot = progression.up(reading_of(clock, {"t": tube_of(current_jobs_buried=buried)}))
        return snapshot.tubes["t"].badges

    rising = (Badge.BURIED_RISING,)
    seen = [badges(0, 5), badges(1, 5), badges(2, 6), badges(60, 6), badges(61.5, 0)]
    assert seen == [(), (), rising, rising, ()]
    assert badges(61.9, 6) == rising
    assert badges(130, 6) == ()


def test_a_head_that_timed_out_before_is_told() -> None:
    reading = reading_of(
        0, {"t": tube_of(), "u": tube_of()}, heads={"t": Head(1, 5, 2), "u": Head(2, 5, 0)}
    )
    tubes = Progression("beanstalk://x").up(reading).tubes
    assert [tubes["t"].badges, tubes["u"].badges] == [(Badge.TIMEOUTS,), ()]
    assert tubes["t"].head == Head(1, 5, 2)


def test_badges_of_the_server() -> None:
    progression = Progression("beanstalk://x")

    def badges(clock: float, **counters: int) -> set[Badge]:
        return set(progression.up(reading_of(clock, stats=stats_of(**counters))).badges)

    assert badges(0, job_timeouts=4) == set()
    assert badges(1, job_timeouts=5) == {Badge.TIMEOUTS}
    assert badges(62, job_timeouts=5) == set()
    assert badges(63, draining=True) == {Badge.DRAINING}
    assert badges(64, current_jobs_ready=1, current_workers=0) == {Badge.NO_WORKERS}


def test_a_server_that_names_none_of_the_counters_breaks_nothing() -> None:
    progression = Progression("beanstalk://x")
    nothing: Any = {}
    for clock in (0, 1):
        snapshot = progression.up(reading_of(clock, {"t": nothing}, nothing))
    assert (snapshot.tubes["t"].ready, snapshot.tubes["t"].paused_for) == (0, 0)


@pytest.mark.parametrize(
    ("ready", "rates", "seconds"),
    [
        (0, None, 0),
        (10, None, None),
        (10, Rates(5, 5), None),
        (10, Rates(6, 5), None),
        (10, Rates(3, 5), 5),
    ],
)
def test_the_time_to_drain(ready: int, rates: Rates | None, seconds: float | None) -> None:
    assert seconds_to_drain(ready, rates) == seconds
