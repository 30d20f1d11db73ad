"""Requests by themselves: what a reply, a refusal and a loss do to each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Client, Job
from beanstalkt.client.requests import (
    InternalRequest,
    PriorityLookup,
    PutChunk,
    Request,
    ReserveRequest,
    ReturnRequest,
    TubeRequest,
)
from beanstalkt.client.reserve_future import ReserveFuture
from beanstalkt.protocol.commands import (
    BURY,
    DELETE,
    PUT,
    RELEASE,
    RESERVE,
    RESERVE_WITH_TIMEOUT,
    USE,
    WATCH,
)

from ..support.peer import Line, Peer


class Holder:
    """A connection that keeps what it is told."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()
        self.given_back: list[tuple[int, bool]] = []
        self.abandonments = 0

    def give_back(self, job: Job, to_anyone: bool) -> None:
        self.given_back.append((job.id, to_anyone))

    def abandon(self, result: Hashable) -> None:
        self.abandonments += 1


def future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def reserve(timeout: int | None = None) -> tuple[ReserveRequest, ReserveFuture, Holder]:
    command = RESERVE if timeout is None else RESERVE_WITH_TIMEOUT
    future = ReserveFuture()
    future.holder = holder = Holder()
    return ReserveRequest(command, b"as it was", future, Client(), timeout), future, holder


async def test_a_request_without_its_caller_drops_what_comes() -> None:
    settles: list[Callable[[Request], None]] = [
        lambda request: request.done(1),
        lambda request: request.failed(beanstalkt.NotFound()),
        lambda request: request.lost("gone", sent=True),
    ]
    for settle in settles:
        result = future()
        request = Request(DELETE, b"", result)
        result.cancel()
        settle(request)
        assert result.cancelled()


async def test_a_lost_request_says_whether_it_was_sent() -> None:
    for sent in (True, False):
        result = future()
        Request(PUT, b"", result).lost("the cable was cut", sent, cause := OSError())
        error = result.exception()
        assert isinstance(error, beanstalkt.ConnectionLost)
        assert (error.sent, error.command, error.__cause__) == (sent, "put", cause)
        assert "the cable was cut" in str(error)


async def test_what_was_granted_counts_also_for_a_caller_that_was_cancelled() -> None:
    granted: list[str] = []
    result = future()
    request = TubeRequest(USE, b"", result, lambda: granted.append("yes"))
    result.cancel()
    request.done("a")
    assert granted == ["yes"]
    result = future()
    request = TubeRequest(USE, b"", result, granted.clear, lambda: granted.append("no"))
    request.failed(beanstalkt.OutOfMemory())
    assert granted == ["yes", "no"]
    result.exception()


async def test_only_a_change_of_the_tubes_watched_is_counted() -> None:
    assert not TubeRequest(USE, b"", future(), list).counted
    assert TubeRequest(WATCH, b"", future(), list).counted


async def test_a_job_without_a_caller_is_given_back_once() -> None:
    request, result, holder = reserve()
    result.cancel()
    assert (holder.abandonments, request.wanted) == (1, False)
    result.cancel()
    assert holder.abandonments == 1
    request.done((5, b"x"))
    assert holder.given_back == [(5, True)]
    assert holder.jobs == set()


async def test_a_job_goes_to_its_caller() -> None:
    request, result, holder = reserve(3)
    request.done((5, b"x"))
    job = await result
    assert job == {"id": 5, "body": b"x"}
    assert job.origin is holder
    assert (holder.jobs, holder.given_back) == ({5}, [])


async def test_an_await_that_is_cancelled_after_the_reply_gives_the_job_back() -> None:
    request, result, holder = reserve()

    async def wait() -> Job:
        return await result

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    request.done((5, b"x"))
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder.given_back == [(5, True)]


async def test_a_refused_reserve_that_is_cancelled_gives_nothing_back() -> None:
    request, result, holder = reserve()

    async def wait() -> Job:
        return await result

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    request.failed(beanstalkt.TimedOut())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder.given_back == []


async def test_a_reserve_goes_on_with_what_is_left_of_its_timeout() -> None:
    request, result, _ = reserve(10)
    request.begin(100.0)
    request.begin(105.0)  # the first time counts
    for now, left in ((101.5, 9), (109.9, 1), (110.0, 0), (200.0, 0)):
        holder = Holder()
        request.move_to(holder, now)
        assert request.payload == b"reserve-with-timeout %d\r\n" % left
        assert request.holder is result.holder is holder
    request, result, _ = reserve()
    request.begin(100.0)
    request.payload = b""
    request.move_to(Holder(), 5000.0)
    assert request.payload == b"reserve\r\n"


async def test_a_priority_lookup_leads_to_the_command_that_keeps_the_priority() -> None:
    for command, payload in ((RELEASE, b"release 5 7 3\r\n"), (BURY, b"bury 5 7\r\n")):
        settle = Request(command, b"", future())
        lookup = PriorityLookup(5, settle, 3)
        assert lookup.payload == b"stats-job 5\r\n"
        lookup.done({"pri": 7})
        assert lookup.follow_up is settle
        assert settle.payload == payload
        assert not settle.result.done()


@pytest.mark.parametrize("stats", [{}, {"pri": -1}, {"pri": 2**32}, {"pri": "7"}])
async def test_a_lookup_without_a_priority_fails(stats: dict[str, object]) -> None:
    result = future()
    lookup = PriorityLookup(5, Request(RELEASE, b"", result))
    lookup.done(stats)
    assert lookup.follow_up is None
    assert isinstance(result.exception(), beanstalkt.UnexpectedResponse)


async def test_a_lookup_that_fails_is_the_failure_of_its_command() -> None:
    result = future()
    lookup = PriorityLookup(5, Request(RELEASE, b"", result))
    lookup.failed(beanstalkt.NotFound(command="stats-job"))
    error = result.exception()
    assert isinstance(error, beanstalkt.NotFound)
    assert error.command == "release"


async def test_a_lookup_that_is_lost_leaves_its_command_unsent() -> None:
    result = future()
    PriorityLookup(5, Request(RELEASE, b"", result)).lost("gone", sent=True)
    error = result.exception()
    assert isinstance(error, beanstalkt.ConnectionLost)
    assert (error.command, error.sent) == ("release", False)


@pytest.mark.parametrize("taken", [True, False])
async def test_a_job_that_is_taken_after_all_is_not_returned(taken: bool) -> None:
    offered: list[int] = []

    def hand_over(job: Job) -> bool:
        offered.append(job.id)
        return taken

    request = ReturnRequest(Job(5, b"x"), hand_over)
    request.done({"pri": 7})
    assert offered == [5]
    assert (request.follow_up is None) is taken
    if request.follow_up is not None:
        assert request.follow_up.payload == b"release 5 7 0\r\n"


async def test_an_internal_request_settles_nothing() -> None:
    request = InternalRequest(USE, b"")
    request.done("a")
    request.failed(beanstalkt.OutOfMemory())
    request.lost("gone", sent=True)


def test_a_chunk_of_puts_ends_once_with_its_first_error() -> None:
    ids: list[int | None] = []
    ends: list[object] = []
    chunk = PutChunk(b"", 6, ids, ends.append)
    chunk.done(1)
    chunk.done_many([2, 3])
    chunk.failed(error := beanstalkt.JobTooBig())
    assert not ends
    chunk.lost("gone", sent=True)
    assert ids == [1, 2, 3, None, None, None]
    chunk.lost("once more", sent=True)
    assert ends == [error]


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
