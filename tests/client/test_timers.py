"""Lazy timers, and the alarm that rings them: with its descriptor and without."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.client import timerfd
from beanstalkt.client.timers import Alarm, LazyTimer, _alarms, alarm_of

from ..support.leftovers import descriptors, timers


@pytest.fixture(params=["descriptor", "timer"])
def alarm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alarm]:
    if request.param == "timer":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    elif (fd := timerfd.create()) is None:
        pytest.skip("there are no such descriptors")
    else:
        os.close(fd)
    before = len(descriptors())
    yield Alarm()
    assert len(descriptors()) == before


class Each:
    """Counts the rings, and knows how late they came."""

    def __init__(self, alarm: Alarm, seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.alarm = alarm
        self.rings = 0
        self.late = 0.0
        self.rung = self.loop.create_future()
        self.add(seconds)

    def add(self, seconds: float) -> None:
        self.due = self.loop.time() + seconds
        self.alarm.add(self.loop, self)

    def discard(self) -> None:
        self.alarm.discard(self.loop, self)

    def ring(self) -> None:
        self.rings += 1
        self.late = self.loop.time() - self.due
        if not self.rung.done():
            self.rung.set_result(None)


async def test_it_rings_once_and_not_too_soon(alarm: Alarm) -> None:
    before = len(descriptors())
    each = Each(alarm, 0.05)
    await each.rung
    assert each.late >= 0
    assert len(descriptors()) == before
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert each.rings == 1


async def test_each_in_its_time(alarm: Alarm) -> None:
    delays = [number / 200 for number in range(20)]
    random.Random(5).shuffle(delays)
    many = [Each(alarm, delay) for delay in delays]
    await asyncio.gather(*(each.rung for each in many))
    assert all(each.rings == 1 and each.late >= 0 for each in many)


async def test_what_is_due_at_once_is_rung(alarm: Alarm) -> None:
    for seconds in (0.0, -5.0):
        await asyncio.wait_for(Each(alarm, seconds).rung, 5)


async def test_a_discarded_timer_is_not_rung(alarm: Alarm) -> None:
    gone, stays = Each(alarm, 0.01), Each(alarm, 0.03)
    gone.discard()
    gone.discard()
    await stays.rung
    assert not gone.rings


async def test_nothing_is_left_when_there_are_no_timers(alarm: Alarm) -> None:
    before = len(descriptors()), timers()
    each = Each(alarm, 1000)
    assert (len(descriptors()), timers()) != before
    each.discard()
    assert (len(descriptors()), timers()) == before


async def test_a_ring_may_add_again(alarm: Alarm) -> None:
    class Again(Each):
        def ring(self) -> None:
            super().ring()
            if self.rings < 3:
                self.add(0.01)

    again = Again(alarm, 0.01)
    while again.rings < 3:
        await asyncio.sleep(0.01)


async def test_a_ring_may_discard_another_that_is_due(alarm: Alarm) -> None:
    class Rival(Each):
        other: Rival

        def ring(self) -> None:
            super().ring()
            self.other.discard()

    one, two = Rival(alarm, 0.01), Rival(alarm, 0.01)
    one.other, two.other = two, one
    time.sleep(0.02)  # both are due before the loop rings them
    await asyncio.wait([one.rung, two.rung], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    assert one.rings + two.rings == 1


async def test_a_ring_that_fails_does_not_stop_the_others(alarm: Alarm) -> None:
    class Fails(Each):
        def ring(self) -> None:
            super().ring()
            raise ZeroDivisionError

    reported: list[object] = []
    loop = asyncio.get_running_loop()
    usual = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    try:
        fails, other = Fails(alarm, 0.01), Each(alarm, 0.03)
        await asyncio.wait_for(other.rung, 5)
        assert fails.rings == 1
        await asyncio.wait_for(Each(alarm, 0.01).rung, 5)
    finally:
        loop.set_exception_handler(usual)
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_a_nearer_time_is_not_missed(alarm: Alarm) -> None:
    far = Each(alarm, 1000)
    near = Each(alarm, 0.02)
    await asyncio.wait_for(near.rung, 10)
    far.discard()


async def test_one_for_a_loop() -> None:
    loop = asyncio.get_running_loop()
    assert alarm_of(loop) is alarm_of(loop)
    other = asyncio.new_event_loop()
    assert alarm_of(other) is not alarm_of(loop)
    other.close()


class Owner:
    """Knows its loop, as every timer does."""

    due = 10.0**6

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.alarm = alarm_of(loop)
        self.alarm.add(loop, self)

    def ring(self) -> None:
        raise AssertionError("it is not due")


@pytest.mark.parametrize("kind", ["descriptor", "timer"])
def test_a_loop_is_not_kept_by_what_nobody_discarded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "timer":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    gc.collect()
    before = len(_alarms), len(descriptors())
    loop = asyncio.new_event_loop()
    kept = weakref.ref(loop)
    Owner(loop)
    assert len(_alarms) == before[0] + 1
    loop.close()
    del loop
    gc.collect()
    assert kept() is None
    assert (len(_alarms), len(descriptors())) == before


def test_a_loop_that_was_closed_first_is_no_obstacle() -> None:
    before = len(descriptors())
    loop = asyncio.new_event_loop()
    owner = Owner(loop)
    loop.close()
    owner.alarm.discard(loop, owner)
    assert len(descriptors()) == before


@pytest.mark.parametrize("seconds", [2.0**40, 2.0**63, 1e300, float("inf")])
async def test_a_time_that_is_too_far_off_for_a_timer_keeps_no_other_from_ringing(
    alarm: Alarm, seconds: float
) -> None:
    far = Each(alarm, seconds)
    for _ in range(3):
        await asyncio.wait_for(Each(alarm, 0.01).rung, 5)
    far.discard()
    far.add(seconds)  # alone as well
    await asyncio.sleep(0.01)
    assert not far.rings
    far.discard()


async def test_a_time_beyond_the_longest_of_the_timer_is_rung_when_it_is_due(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.client.timers.LONGEST", 0.01)
    each = Each(alarm, 0.1)
    await asyncio.wait_for(each.rung, 5)
    assert each.rings == 1
    assert each.late >= 0


async def test_a_descriptor_that_cannot_be_set_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = len(descriptors())
    alarm = Alarm()
    first = Each(alarm, 0.01)

    def fails(fd: int, seconds: float) -> None:
        raise OSError("the timer cannot be set")

    monkeypatch.setattr(timerfd, "start", fails)
    second = Each(alarm, 0.005)
    await asyncio.wait_for(asyncio.gather(first.rung, second.rung), 5)
    assert len(descriptors()) == before


def test_the_descriptor_is_readable_in_time() -> None:
    fd = timerfd.create()
    if fd is None:
        pytest.skip("there are no such descriptors")
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 8)
        begin = time.monotonic()
        timerfd.start(fd, 5000.25)
        timerfd.start(fd, 0.05)
        os.set_blocking(fd, True)
        assert os.read(fd, 8)
        assert time.monotonic() - begin >= 0.05
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_out_of_descriptors_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert timerfd.create() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- lazy timers ---


class Loop(asyncio.SelectorEventLoop):
    """One whose clock stands still until it is told otherwise."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let the time pass, calling all that falls due."""
        self.now += seconds
        for _ in range(5):
            self.call_soon(self.stop)
            self.run_forever()

    def timers(self) -> int:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sum(not timer.cancelled() for timer in scheduled)


@contextmanager
def lazy() -> Iterator[tuple[Loop, LazyTimer, list[str]]]:
    """A timer that notes its calls, on a loop with a clock of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timerfd, "create", lambda: None)  # the system's clock goes on
        loop = Loop()
        calls: list[str] = []
        try:
            yield loop, LazyTimer(loop, lambda: calls.append("x")), calls
        finally:
            loop.close()


def test_a_lazy_timer_calls_once_in_time() -> None:
    with lazy() as (loop, timer, calls):
        timer.set(loop.now + 10)
        loop.advance(9)
        assert not calls
        loop.advance(1)
        assert calls == ["x"]
        loop.advance(100)
        assert calls == ["x"]
        assert loop.timers() == 0


def test_a_lazy_timer_that_was_cleared_does_not_call() -> None:
    with lazy() as (loop, timer, calls):
        timer.set(loop.now + 10)
        timer.clear()
        loop.advance(100)
        assert not calls
        assert loop.timers() == 0


def test_a_lazy_timer_set_and_cleared_often_takes_one_timer_of_the_loop() -> None:
    with lazy() as (loop, timer, calls):
        for _ in range(100):
            timer.set(loop.now + 10)
            timer.clear()
            loop.advance(0.01)
        assert loop.timers() == 1
        timer.set(loop.now + 10)
        loop.advance(9.5)  # the first time is over
        assert not calls
        loop.advance(0.5)
        assert calls == ["x"]


def test_a_lazy_timer_that_is_set_to_an_earlier_time_calls_then() -> None:
    with lazy() as (loop, timer, calls):
        timer.set(loop.now + 10)
        timer.set(loop.now + 1)
        loop.advance(1)
        assert calls == ["x"]
        loop.advance(100)
        assert calls == ["x"]


def test_a_lazy_timer_may_be_set_again_by_its_callback() -> None:
    with lazy() as (loop, _, calls):

        def again() -> None:
            calls.append("x")
            timer.set(loop.now + 5)

        timer = LazyTimer(loop, again)
        timer.set(loop.now + 5)
        for _ in range(4):
            loop.advance(5)
        assert len(calls) == 4
        timer.close()
        assert loop.timers() == 0
        loop.advance(100)
        assert len(calls) == 4


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 20)),
            st.tuples(st.just("wait"), st.integers(0, 20)),
            st.tuples(st.sampled_from(["clear", "close"]), st.just(0)),
        ),
        max_size=30,
    )
)
def test_a_lazy_timer_does_what_one_of_the_loop_would_do(steps: list[tuple[str, int]]) -> None:
    with lazy() as (loop, timer, calls):
        due: float | None = None
        expected = 0
        for step, seconds in steps:
            if step == "set":
                due = loop.now + seconds
                timer.set(due)
            elif step == "wait":
                loop.advance(seconds)
                if due is not None and due <= loop.now:
                    expected += 1
                    due = None
            else:
                timer.clear() if step == "clear" else timer.close()
                due = None
            assert len(calls) == expected
            assert loop.timers() <= 1
