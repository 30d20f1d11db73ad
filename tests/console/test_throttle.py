from __future__ import annotations

from beanstalkt.console.throttle import (
    FORGOTTEN_AFTER,
    FREE,
    FREE_OF_ALL,
    LONGEST,
    MAX_ADDRESSES,
    Throttle,
)


def test_waits_grow_and_are_bounded() -> None:
    throttle, now, waits = Throttle(), 0.0, []
    for _ in range(20):
        waits.append(throttle.wait("a", now))
        now += waits[-1]
        throttle.failed("a", now)
    assert waits[:FREE] == [0] * FREE
    assert waits[FREE : FREE + 4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST


def test_another_address_is_not_held_up_by_one() -> None:
    throttle = Throttle()
    for _ in range(FREE + 3):
        throttle.failed("a", 0)
    assert throttle.wait("a", 0)
    assert not throttle.wait("b", 0)


def test_many_addresses_are_slowed_down_together() -> None:
    throttle = Throttle()
    for each in range(FREE_OF_ALL + 1):
        throttle.failed(str(each), 0)
    assert throttle.wait("new", 0)


def test_it_forgets() -> None:
    throttle = Throttle()
    for _ in range(FREE + 1):
        throttle.failed("a", 0)
    assert throttle.wait("a", 0)
    throttle.succeeded("a")
    assert not throttle.wait("a", 0)
    for _ in range(FREE + 1):
        throttle.failed("a", 0)
    throttle.failed("a", FORGOTTEN_AFTER + 1)
    assert not throttle.wait("a", FORGOTTEN_AFTER + 1)


def test_its_memory_is_bounded() -> None:
    throttle = Throttle()
    for each in range(MAX_ADDRESSES + 10):
        throttle.failed(str(each), 0)
    assert len(throttle._by_address) == MAX_ADDRESSES
