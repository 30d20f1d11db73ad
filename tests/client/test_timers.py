"""The vigil: when it looks, and what it leaves open; with its descriptor and without."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import time
import weakref
from collections.abc import Iterator

import pytest

from beanstalkt.client import timerfd
from beanstalkt.client.timers import Vigil, _vigils, vigil_of


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def timers() -> int:
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not timer.cancelled() for timer in scheduled)


@pytest.fixture(params=["descriptor", "timer"])
def vigil(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vigil]:
    if request.param == "timer":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    elif (fd := timerfd.create()) is None:
        pytest.skip("there are no such descriptors")
    else:
        os.close(fd)
    before = descriptors()
    yield Vigil()
    assert descriptors() == before


class Each:
    """Counts the looks, and knows how late they came."""

    def __init__(self, vigil: Vigil, seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.vigil = vigil
        self.looks = 0
        self.late = 0.0
        self.looked = self.loop.create_future()
        self.add(seconds)

    def add(self, seconds: float) -> None:
        self.due = self.loop.time() + seconds
        self.vigil.add(self.loop, self)

    def discard(self) -> None:
        self.vigil.discard(self.loop, self)

    def look(self) -> None:
        self.looks += 1
        self.late = self.loop.time() - self.due
        if not self.looked.done():
            self.looked.set_result(None)


async def test_it_looks_once_and_not_too_soon(vigil: Vigil) -> None:
    before = descriptors()
    each = Each(vigil, 0.05)
    await each.looked
    assert each.late >= 0
    assert descriptors() == before
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert each.looks == 1


async def test_each_in_its_time(vigil: Vigil) -> None:
    delays = [number / 200 for number in range(20)]
    random.Random(5).shuffle(delays)
    many = [Each(vigil, delay) for delay in delays]
    await asyncio.gather(*(each.looked for each in many))
    assert all(each.looks == 1 and each.late >= 0 for each in many)


async def test_what_is_due_at_once_is_looked_at(vigil: Vigil) -> None:
    for seconds in (0.0, -5.0):
        await asyncio.wait_for(Each(vigil, seconds).looked, 5)


async def test_who_was_discarded_is_not_looked_at(vigil: Vigil) -> None:
    gone, stays = Each(vigil, 0.01), Each(vigil, 0.03)
    gone.discard()
    gone.discard()
    await stays.looked
    assert not gone.looks


async def test_nothing_is_left_when_nobody_is_watched(vigil: Vigil) -> None:
    before = descriptors(), timers()
    each = Each(vigil, 1000)
    assert (descriptors(), timers()) != before
    each.discard()
    assert (descriptors(), timers()) == before


async def test_a_look_may_add_again(vigil: Vigil) -> None:
    class Again(Each):
        def look(self) -> None:
            super().look()
            if self.looks < 3:
                self.add(0.01)

    again = Again(vigil, 0.01)
    while again.looks < 3:
        await asyncio.sleep(0.01)


async def test_a_look_may_discard_another_that_is_due(vigil: Vigil) -> None:
    class Rival(Each):
        other: Rival

        def look(self) -> None:
            super().look()
            self.other.discard()

    one, two = Rival(vigil, 0.01), Rival(vigil, 0.01)
    one.other, two.other = two, one
    time.sleep(0.02)  # both are due before the loop looks
    await asyncio.wait([one.looked, two.looked], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    assert one.looks + two.looks == 1


async def test_a_look_that_fails_does_not_end_the_watch(vigil: Vigil) -> None:
    class Fails(Each):
        def look(self) -> None:
            super().look()
            raise ZeroDivisionError

    reported: list[object] = []
    loop = asyncio.get_running_loop()
    usual = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    try:
        fails, other = Fails(vigil, 0.01), Each(vigil, 0.03)
        await asyncio.wait_for(other.looked, 5)
        assert fails.looks == 1
        await asyncio.wait_for(Each(vigil, 0.01).looked, 5)
    finally:
        loop.set_exception_handler(usual)
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_a_nearer_time_is_not_missed(vigil: Vigil) -> None:
    far = Each(vigil, 1000)
    near = Each(vigil, 0.02)
    await asyncio.wait_for(near.looked, 10)
    far.discard()


async def test_one_for_a_loop() -> None:
    loop = asyncio.get_running_loop()
    assert vigil_of(loop) is vigil_of(loop)
    other = asyncio.new_event_loop()
    assert vigil_of(other) is not vigil_of(loop)
    other.close()


class Owner:
    """Knows its loop, as whatever is watched does."""

    due = 10.0**6

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.vigil = vigil_of(loop)
        self.vigil.add(loop, self)

    def look(self) -> None:
        raise AssertionError("it is not due")


@pytest.mark.parametrize("kind", ["descriptor", "timer"])
def test_a_loop_is_not_kept_by_what_nobody_discarded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "timer":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    gc.collect()
    before = len(_vigils), descriptors()
    loop = asyncio.new_event_loop()
    kept = weakref.ref(loop)
    Owner(loop)
    assert len(_vigils) == before[0] + 1
    loop.close()
    del loop
    gc.collect()
    assert kept() is None
    assert (len(_vigils), descriptors()) == before


def test_a_loop_that_was_closed_first_is_no_obstacle() -> None:
    before = descriptors()
    loop = asyncio.new_event_loop()
    owner = Owner(loop)
    loop.close()
    owner.vigil.discard(loop, owner)
    assert descriptors() == before


@pytest.mark.parametrize("seconds", [2.0**40, 2.0**63, 1e300, float("inf")])
async def test_a_time_that_is_too_far_off_for_a_timer_keeps_nobody_from_looking(
    vigil: Vigil, seconds: float
) -> None:
    far = Each(vigil, seconds)
    for _ in range(3):
        await asyncio.wait_for(Each(vigil, 0.01).looked, 5)
    far.discard()
    far.add(seconds)  # alone as well
    await asyncio.sleep(0.01)
    assert not far.looks
    far.discard()


async def test_a_time_beyond_the_longest_of_the_timer_is_looked_at_when_it_is_due(
    vigil: Vigil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.client.timers.LONGEST", 0.01)
    each = Each(vigil, 0.1)
    await asyncio.wait_for(each.looked, 5)
    assert each.looks == 1
    assert each.late >= 0


async def test_a_descriptor_that_cannot_be_set_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = descriptors()
    vigil = Vigil()
    first = Each(vigil, 0.01)

    def fails(fd: int, seconds: float) -> None:
        raise OSError("the timer cannot be set")

    monkeypatch.setattr(timerfd, "start", fails)
    second = Each(vigil, 0.005)
    await asyncio.wait_for(asyncio.gather(first.looked, second.looked), 5)
    assert descriptors() == before


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
