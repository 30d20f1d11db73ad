"""The places of the FIFO, without a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Client, Job
from beanstalkt.client.requests import Grant, Own, Place, Priority, Reservation, Reserve
from beanstalkt.protocol.commands import DELETE, PUT, RELEASE, RESERVE, RESERVE_WITH_TIMEOUT, USE

from ..support.peer import Line, Peer


class Holder:
    """A connection that keeps what it is told."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()
        self.given_back: list[tuple[int, bool]] = []
        self.abandonments = 0

    def give_back(self, job: Job, to_anyone: bool) -> None:
        self.given_back.append((job.id, to_anyone))

    def abandoned(self, future: Reservation) -> None:
        self.abandonments += 1


def future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def reserve(timeout: int | None = None) -> tuple[Reserve, Holder]:
    command = RESERVE if timeout is None else RESERVE_WITH_TIMEOUT
    future = Reservation()
    future.holder = holder = Holder()
    return Reserve(command, b"as it was", future, Client(), timeout), holder


async def test_a_place_without_its_caller_drops_what_comes() -> None:
    settles: list[Callable[[Place], None]] = [
        lambda place: place.done(1),
        lambda place: place.failed(beanstalkt.NotFound()),
        lambda place: place.lost("gone", sent=True),
    ]
    for settle in settles:
        place = Place(DELETE, b"", future())
        place.future.cancel()
        settle(place)
        assert place.future.cancelled()


async def test_a_lost_place_says_whether_it_was_sent() -> None:
    for sent in (True, False):
        place = Place(PUT, b"", future())
        place.lost("the cable was cut", sent, cause := OSError())
        error = place.future.exception()
        assert isinstance(error, beanstalkt.ConnectionLost)
        assert (error.sent, error.command, error.__cause__) == (sent, "put", cause)
        assert "the cable was cut" in str(error)


async def test_a_grant_counts_also_for_a_caller_that_was_cancelled() -> None:
    granted: list[str] = []
    place = Grant(USE, b"", future(), lambda: granted.append("yes"))
    place.future.cancel()
    place.done("a")
    assert granted == ["yes"]
    place = Grant(USE, b"", future(), granted.clear, lambda: granted.append("no"))
    place.failed(beanstalkt.OutOfMemory())
    assert granted == ["yes", "no"]
    place.future.exception()


async def test_a_job_that_nobody_awaits_any_more_is_given_back_once() -> None:
    place, holder = reserve()
    place.future.cancel()
    assert (holder.abandonments, place.live) == (1, False)
    place.future.cancel()
    assert holder.abandonments == 1
    place.done((5, b"x"))
    assert holder.given_back == [(5, True)]
    assert holder.jobs == set()


async def test_a_job_goes_to_its_caller() -> None:
    place, holder = reserve(3)
    place.done((5, b"x"))
    job = await place.future
    assert job == {"id": 5, "body": b"x"}
    assert job.origin is holder
    assert (holder.jobs, holder.given_back) == ({5}, [])


async def test_an_await_that_is_cancelled_behind_the_reply_gives_the_job_back() -> None:
    place, holder = reserve()

    async def wait() -> Job:
        return await place.future

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    place.done((5, b"x"))
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder.given_back == [(5, True)]


async def test_a_refused_reserve_that_is_cancelled_gives_nothing_back() -> None:
    place, holder = reserve()

    async def wait() -> Job:
        return await place.future

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    place.failed(beanstalkt.TimedOut())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder.given_back == []


async def test_a_reserve_goes_on_with_what_is_left_of_its_timeout() -> None:
    place, _ = reserve(10)
    place.begin(100.0)
    place.begin(105.0)  # the first time counts
    for now, left in ((101.5, 9), (109.9, 1), (110.0, 0), (200.0, 0)):
        place.renew(Holder(), now)
        assert place.line == b"reserve-with-timeout %d\r\n" % left
    place, _ = reserve()
    place.begin(100.0)
    place.line = b""
    place.renew(Holder(), 5000.0)
    assert place.line == b"reserve\r\n"


async def test_a_priority_makes_the_line_of_the_command_behind_it() -> None:
    for stats, line in (({"pri": 7}, b"release 5 7 0\r\n"), ({}, b""), ({"pri": -1}, b"")):
        behind = Place(RELEASE, b"", future())

        def fill(priority: int, behind: Place = behind) -> None:
            behind.line = RELEASE.encode(5, priority, 0)

        place = Priority(5, fill, behind)
        assert place.line == b"stats-job 5\r\n"
        place.done(stats)
        assert behind.line == line
        assert behind.future.done() is (not line)
        if not line:
            assert isinstance(behind.future.exception(), beanstalkt.UnexpectedResponse)


async def test_a_priority_that_fails_is_the_failure_of_the_command_behind_it() -> None:
    behind = Place(RELEASE, b"", future())
    Priority(5, print, behind).failed(beanstalkt.NotFound(command="stats-job"))
    error = behind.future.exception()
    assert isinstance(error, beanstalkt.NotFound)
    assert error.command == "release"


async def test_an_own_command_tells_no_caller() -> None:
    results: list[object] = []
    place = Own(USE, b"", results.append)
    place.done("a")
    place.failed(beanstalkt.OutOfMemory())
    place.lost("gone", sent=True)
    assert results == ["a"]


async def test_a_reserve_waits_for_the_job_of_one_that_was_cancelled() -> None:
    """Nothing is written for it, and those that wait already get their jobs first."""
    go_on = asyncio.Event()

    async def play(line: Line) -> None:
        await line.expect(b"reserve", b"reserve", b"reserve")
        await go_on.wait()
        line.send(b"".join(b"RESERVED %d 1\r\nx\r\n" % number for number in (1, 2, 3)))
        # Only what found no such reserve was written.
        await line.expect(b"reserve-with-timeout 9")
        line.send(b"RESERVED 4 1\r\nx\r\n")
        await line.expect(b"reserve-with-timeout 8")
        line.send(b"RESERVED 5 1\r\nx\r\n")
        await line.end()

    async with Peer(play) as peer, Client(peer.host, peer.port) as client:
        first, second, third = client.reserve(), client.reserve(), client.reserve()
        await asyncio.sleep(0)
        first.cancel()
        fourth = client.reserve()
        timed = client.reserve(9)
        second.cancel()
        fifth = client.reserve()
        go_on.set()
        jobs = [await asyncio.wait_for(each, 5) for each in (third, fourth, timed, fifth)]
        # The job of the second one went to the next that waited, and so on.
        assert [job.id for job in jobs] == [1, 2, 3, 4]
        assert (await asyncio.wait_for(client.reserve(8), 5)).id == 5
