"""A client is used from the thread of its loop, and says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from beanstalkt import Client, Job
from beanstalkt.client.client import UnknownLoop

from ..support.clients import client_of, every_verb
from ..support.embedded import AnyServer
from ..support.waiting import soon


def in_a_thread(call: Callable[[], Any]) -> Any:
    """What it returns there, or the exception."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("debug", [False, True])
async def test_a_wrong_thread_changes_nothing(
    server: AnyServer, debug: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.get_running_loop().set_debug(debug)
    if not told:  # in which thread the loop runs: asyncio's own loop does, not every other one
        unknown = property(lambda _: UnknownLoop, lambda *_: None)
        monkeypatch.setattr(Client, "_runner", unknown, False)
    async with client_of(server) as client:
        await client.put(b"x")
        job = await client.reserve()
        calls: list[Callable[[], Any]] = [
            *every_verb(client),
            lambda: client.reserve(0, print),
            job.delete,
            job.touch,
            client.connect,
            client.close,
            client.together,
        ]
        under_way = client.stats_job(job)
        for call in calls:
            error = in_a_thread(call)
            assert isinstance(error, RuntimeError), call
            assert "another thread" in str(error)
            # Each reply still goes to its own caller.
            assert await soon(client.use(f"tube-{calls.index(call)}")) == client.using
        assert (await under_way)["id"] == job.id
        assert client.watching == {"default"}
        stats = await client.stats()
        assert (stats["total-jobs"], stats["current-connections"]) == (1, 1)
        await job.delete()


async def test_the_bodies_of_put_many_are_not_touched(server: AnyServer) -> None:
    async with client_of(server) as client:
        bodies = iter([b"1", b"2"])
        assert isinstance(in_a_thread(lambda: client.put_many(bodies)), RuntimeError)
        assert await client.put_many(bodies) == [1, 2]


async def test_the_ways_that_the_message_names(server: AnyServer) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(server) as client:

        async def put() -> int:
            return await client.put(b"x")

        def from_there() -> int:
            return asyncio.run_coroutine_threadsafe(put(), loop).result(10)

        assert await asyncio.to_thread(from_there) == 1
        done: asyncio.Future[Any] = loop.create_future()
        in_a_thread(lambda: loop.call_soon_threadsafe(client.put, b"y", 1, 0, 9, done.set_result))
        assert await soon(done) == 2


def test_before_the_loop_runs_and_between_its_runs(server: AnyServer) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = IOLoop.current()
    try:
        client = client_of(server)
        connected = client.connect()
        loop.run_until_complete(connected)
        put = client.put(b"x")
        with client.together():
            reserve = client.reserve()
        assert loop.run_until_complete(put) == 1
        assert loop.run_until_complete(reserve).id == 1
        loop.run_until_complete(client.close())
    finally:
        io_loop.close()
        asyncio.set_event_loop(None)


def test_a_loop_that_runs_in_another_thread_the_next_time(server: AnyServer) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = IOLoop.current()
    client = client_of(server)

    async def put() -> int:
        return await client.put(b"x")

    async def take() -> Job:
        return await client.reserve(5)

    try:
        loop.run_until_complete(client.connect())
        assert loop.run_until_complete(put()) == 1
        assert in_a_thread(lambda: loop.run_until_complete(put())) == 2
        assert in_a_thread(lambda: loop.run_until_complete(take())).id == 1
        loop.run_until_complete(client.close())
    finally:
        io_loop.close()
        asyncio.set_event_loop(None)
