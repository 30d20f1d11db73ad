from __future__ import annotations

import pytest

from beanstalkt.server.stored_job import StoredJob
from beanstalkt.server.tube import Tube


@pytest.fixture
def tube() -> Tube:
    return Tube(b"a", 2)


def job(job_id: int, priority: int = 0) -> StoredJob:
    return StoredJob(job_id, b"a", priority, delay=0, ttr=1, size=0, created=0.0)


def test_jobs_of_the_lowest_priority_number_come_first_and_then_the_oldest(tube: Tube) -> None:
    for number, priority in ((1, 5), (3, 4), (2, 4)):
        tube.add_ready(job(number, priority))
    order = []
    while first := tube.next_job:
        order.append(first.id)
        tube.remove_ready(first)
    assert order == [2, 3, 1]


def test_priorities_below_1024_are_urgent(tube: Tube) -> None:
    jobs = [job(1, 1023), job(2, 1024), job(3, 0)]
    for each in jobs:
        tube.add_ready(each)
    assert tube.urgent_count == 2
    for each in jobs:
        tube.remove_ready(each)
    assert tube.urgent_count == 0


def test_a_paused_tube_has_no_next_job(tube: Tube) -> None:
    tube.add_ready(job(1))
    tube.pause = 10
    assert tube.next_job is None
    tube.pause = 0
    assert tube.next_job is not None


def test_the_job_that_was_buried_first_is_kicked_first(tube: Tube) -> None:
    assert tube.first_buried is None
    for number in (2, 1):
        tube.buried[number] = job(number)
    assert tube.first_buried is tube.buried[2]


@pytest.mark.parametrize("counter", ["job_count", "user_count", "watcher_count"])
def test_it_is_unused_without_jobs_users_and_watchers(tube: Tube, counter: str) -> None:
    assert tube.unused
    setattr(tube, counter, 1)
    assert not tube.unused
