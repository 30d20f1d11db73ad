"""The work for many reserves grows with their number, and not with its square."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Job

from ..support.clients import client_of, nothing_reserved, until_waiting
from ..support.embedded import AnyServer
from ..support.waiting import soon

PACKAGE = os.path.dirname(beanstalkt.__file__)

Reserves = list["asyncio.Future[Job]"]


class Lines:
    """Counts the lines of the package that are run: the same on a busy machine."""

    def __init__(self) -> None:
        self.count = 0

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self.count += event == "line"
        return self._trace

    def __enter__(self) -> Lines:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


def oldest_first(reserves: Reserves) -> Reserves:
    return reserves


def newest_first(reserves: Reserves) -> Reserves:
    return reserves[::-1]


def at_random(reserves: Reserves) -> Reserves:
    return random.Random(1).sample(reserves, len(reserves))


async def twice_as_many(work: Callable[[int], Awaitable[int]]) -> None:
    """The work for twice as many must be about twice as much."""
    few, many = await work(300), await work(600)
    assert few > 300
    assert many < 2.5 * few


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("order", [oldest_first, newest_first, at_random])
async def test_cancelling(
    server: AnyServer, order: Callable[[Reserves], Reserves], holds: bool
) -> None:
    async with client_of(server) as client, client_of(server) as other:

        async def cancel(count: int) -> int:
            if holds:
                await client.put(b"x")
                await client.reserve()
            reserves = [client.reserve((None, 100)[n % 3 == 2]) for n in range(count)]
            waits = client.put(b"behind them") if holds else None
            await until_waiting(other, 1)
            with Lines() as lines:
                for reserve in order(reserves):
                    reserve.cancel()
            if waits is not None:
                waits.cancel()
                await client.close()
                await client.connect()
            return lines.count

        await twice_as_many(cancel)


async def test_cancelling_one_in_each_turn_of_the_loop(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:

        async def cancel(count: int) -> int:
            reserves = [client.reserve() for n in range(count)]
            await until_waiting(other, 1)
            with Lines() as lines:
                for reserve in reserves:
                    reserve.cancel()
                    await asyncio.sleep(0)
            return lines.count

        await twice_as_many(cancel)


@pytest.mark.parametrize("timeout", [None, 100])
async def test_waiting_for_the_jobs_of_those_that_were_cancelled(
    server: AnyServer, timeout: int | None
) -> None:
    """Each job that comes for one that was cancelled goes to another; nobody is passed."""
    async with client_of(server) as other:

        async def replace(count: int) -> int:
            client = client_of(server)
            await client.connect()
            await client.put(b"held", 0)
            await client.reserve()
            reserves = [client.reserve() for n in range(count)]
            await until_waiting(other, 1)
            with Lines() as lines:
                for reserve in reserves[::2]:
                    reserve.cancel()
                following = [client.reserve(timeout) for _ in range(count // 2)]
                await other.put_many([b"x"] * count)
                jobs = await soon(asyncio.gather(*reserves[1::2], *following))
            ids = [job.id for job in jobs]
            assert ids == sorted(ids)
            await client.close()
            await nothing_reserved(other)
            while (await other.stats())["current-jobs-ready"]:
                await (await other.reserve()).delete()
            return lines.count

        await twice_as_many(replace)


async def test_many_commands_behind_one_that_was_cancelled(server: AnyServer) -> None:
    async with client_of(server) as other:

        async def ask(count: int) -> int:
            client = client_of(server)
            await client.connect()
            await other.put(b"x", ttr=100)
            await client.reserve()
            reserve = client.reserve()
            await until_waiting(other, 1)
            reserve.cancel()
            with Lines() as lines:
                asked: list[asyncio.Future[Any]] = [client.reserve_job(1) for _ in range(count)]
                for each in asked:
                    each.cancel()
            await client.close()
            await (await other.reserve()).delete()
            return lines.count

        await twice_as_many(ask)


async def test_sixteen_thousand(server: AnyServer) -> None:
    """Bounded by the time that a test may take."""
    async with client_of(server) as client:
        for order in (oldest_first, newest_first, at_random):
            reserves = [client.reserve() for _ in range(16_000)]
            await asyncio.sleep(0)
            for reserve in order(reserves):
                reserve.cancel()
            assert await client.put(b"x", tube="other")
