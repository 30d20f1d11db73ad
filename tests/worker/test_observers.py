"""The observers of a runner: none can delay, change or break what the runner does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from beanstalkt.worker import observers as module
from beanstalkt.worker.events import Event, RunnerPaused, RunnerResumed
from beanstalkt.worker.observers import QUEUE_LIMIT, REPORT_INTERVAL, SLOW_CALL, Observers

from ..support.running import until

PATIENCE = 20.0
"""Seconds; what takes longer hangs."""


class Panic(BaseException):
    """Such as an extension in another language raises."""


class Blocking:
    """An observer with a thread. It waits in its first call until it is let go."""

    blocking = True

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self, event: Event) -> None:
        self.entered.set()
        self.gate.wait(PATIENCE)
        self.threads.add(threading.get_ident())
        self.seen.append(event)


@contextlib.contextmanager
def reported() -> Iterator[list[dict[str, Any]]]:
    """What the exception handler of the running loop is told."""
    contexts: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    try:
        yield contexts
    finally:
        loop.set_exception_handler(None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the observers see; it stands still."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    return now


async def test_each_gets_every_event_in_order_and_as_it_is() -> None:
    first: list[Event] = []
    calls: list[str] = []
    observers = Observers(
        [first.append, lambda _: calls.append("second"), lambda _: calls.append("third")]
    )
    events: list[Event] = [RunnerPaused(number) for number in range(3)]
    for event in events:
        observers.publish(event)
    assert all(seen is event for seen, event in zip(first, events, strict=True))
    assert calls == ["second", "third"] * 3
    await observers.close(PATIENCE)


async def test_one_that_names_types_gets_only_events_of_these() -> None:
    class Some(Blocking):
        events = (RunnerResumed,)

    class Direct(Some):
        blocking = False

    slow, direct = Some(), Direct()
    for observer in (slow, direct):
        observer.gate.set()
    observers = Observers([slow, direct])
    assert observers.wants(RunnerResumed)
    assert not observers.wants(RunnerPaused)
    assert not Observers().wants(RunnerResumed)
    assert Observers([slow, print]).wants(RunnerPaused)
    for event in (RunnerPaused(0), RunnerResumed(), RunnerPaused(1)):
        observers.publish(event)
    await observers.close(PATIENCE)
    assert slow.seen == direct.seen == [RunnerResumed()]


@pytest.mark.parametrize(
    "kind", [ValueError, Panic, asyncio.CancelledError, SystemExit, GeneratorExit]
)
async def test_one_that_raises_stops_neither_the_others_nor_the_runner(
    kind: type[BaseException],
) -> None:
    seen: list[Event] = []

    def fails(event: Event) -> None:
        seen.append(event)
        raise kind("broken")

    observers = Observers([fails, seen.append])
    with reported() as contexts:
        for _ in range(3):
            observers.publish(RunnerResumed())
    # It is called again, and reported once.
    assert len(seen) == 6
    (context,) = contexts
    assert "fails" in context["message"]
    assert isinstance(context["exception"], kind)


async def test_an_interrupt_is_not_taken_for_an_observer_s() -> None:
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([interrupted]).publish(RunnerResumed())


async def test_one_that_goes_on_failing_is_reported_again_after_a_while(
    clock: list[float],
) -> None:
    def fails(event: Event) -> None:
        raise ValueError

    observers = Observers([fails])
    with reported() as contexts:
        for expected in (1, 1, 2):
            observers.publish(RunnerResumed())
            assert len(contexts) == expected
            clock[0] += REPORT_INTERVAL * 0.6


async def test_one_that_takes_long_on_the_loop_is_reported(clock: list[float]) -> None:
    def slow(event: Event) -> None:
        clock[0] += 2 * SLOW_CALL

    observers = Observers([slow])
    with reported() as contexts:
        observers.publish(RunnerResumed())
    assert "blocking = True" in contexts[0]["message"]


async def test_a_blocking_one_keeps_nobody_waiting() -> None:
    slow = Blocking()
    seen: list[Event] = []
    observers = Observers([slow, seen.append])
    events: list[Event] = [RunnerPaused(number) for number in range(100)]
    for event in events:
        observers.publish(event)
    await until(slow.entered.is_set)
    assert seen == events
    assert not slow.seen
    slow.gate.set()
    await observers.close(PATIENCE)
    # In order, in one thread that is not this one, and all of them before the end.
    assert slow.seen == events
    assert len(slow.threads) == 1
    assert threading.get_ident() not in slow.threads
    await until(lambda: not observer_threads())


async def test_a_blocking_one_that_stays_away_misses_what_its_queue_cannot_hold() -> None:
    slow = Blocking()
    observers = Observers([slow])
    with reported() as contexts:
        observers.publish(RunnerPaused(0))
        await until(slow.entered.is_set)
        for number in range(1, QUEUE_LIMIT + 6):
            observers.publish(RunnerPaused(number))
        assert len(contexts) == 1
        assert "missed 1 events" in contexts[0]["message"]
        slow.gate.set()
        await observers.close(PATIENCE)
    # The first ones, without a gap.
    assert slow.seen == [RunnerPaused(number) for number in range(QUEUE_LIMIT + 1)]
    # How many it missed in all is said at the end at the latest.
    assert "missed 5 events" in contexts[-1]["message"]


async def test_a_blocking_one_that_raises_goes_on() -> None:
    seen: list[Event] = []

    class Fails:
        blocking = True

        def __call__(self, event: Event) -> None:
            seen.append(event)
            raise Panic("broken")

    observers = Observers([Fails()])
    with reported() as contexts:
        for _ in range(3):
            observers.publish(RunnerResumed())
        await observers.close(PATIENCE)
        await until(lambda: bool(contexts))
    assert len(seen) == 3
    assert len(contexts) == 1
    assert isinstance(contexts[0]["exception"], Panic)


async def test_the_end_does_not_wait_for_one_that_never_returns() -> None:
    slow = Blocking()
    observers = Observers([slow])
    with reported() as contexts:
        for number in range(5):
            observers.publish(RunnerPaused(number))
        await until(slow.entered.is_set)
        began = time.monotonic()
        await observers.close(0.05)
        assert time.monotonic() - began < PATIENCE / 2
    assert "misses the last 4 events" in contexts[0]["message"]
    slow.gate.set()
    # The event that it was in is its last one.
    await until(lambda: not observer_threads())
    assert slow.seen == [RunnerPaused(0)]


async def test_without_a_thread_a_blocking_one_is_reported_and_misses_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    observers = Observers([Blocking()])
    with reported() as contexts:
        observers.publish(RunnerResumed())
        observers.publish(RunnerResumed())
        await observers.close(PATIENCE)
    assert "cannot be started" in contexts[0]["message"]


async def test_after_the_end_it_can_begin_again() -> None:
    slow = Blocking()
    slow.gate.set()
    observers = Observers([slow])
    for number in range(2):
        observers.publish(RunnerPaused(number))
        await observers.close(PATIENCE)
    assert slow.seen == [RunnerPaused(0), RunnerPaused(1)]
    await observers.close(PATIENCE)


def test_a_loop_that_is_closed_first() -> None:
    slow = Blocking()

    async def leave() -> None:
        observers = Observers([slow])
        observers.publish(RunnerResumed())
        await observers.close(0.01)

    asyncio.run(leave())
    slow.gate.set()
    deadline = time.monotonic() + PATIENCE
    while observer_threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(slow.seen) == 1


def observer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "observer"]
