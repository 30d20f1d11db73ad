"""Measure a pool of four servers against one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import beanstalkt

from .bare import load
from .registry import BODY, TASKS, Address, Stopwatch, measure
from .servers import empty

SERVERS = 4
SLOTS = 48
KEYS = 20_000


@contextmanager
def addresses(first: Address) -> Iterator[list[Address]]:
    """Give the addresses of four servers, of which the first runs already."""
    with ExitStack() as stack:
        yield [first, *(stack.enter_context(empty()) for _ in range(SERVERS - 1))]


def url(address: Address) -> str:
    """Return the URL of a server."""
    return "beanstalk://{}:{}".format(*address)


def names(found: list[Address]) -> dict[str, str]:
    """Return the URLs of servers by names."""
    return {f"s{number}": url(address) for number, address in enumerate(found)}


@asynccontextmanager
async def pool_of(first: Address, jobs: int = 0) -> AsyncIterator[beanstalkt.Pool]:
    """Give a pool of four servers with so many jobs, spread evenly."""
    with addresses(first) as found:
        for number, address in enumerate(found):
            share = len(range(number, jobs, SERVERS))
            if share:
                load(address, share)
        async with beanstalkt.Pool(names(found)) as pool:
            yield pool


@measure("a pool: put_many", "one server")
async def put_many_one(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs with put_many on one server."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            await client.put_many(BODY for _ in range(jobs))


@measure("a pool: put_many", "four servers")
async def put_many_four(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs with put_many on four servers."""
    async with pool_of(address) as pool:
        with watch:
            await pool.put_many(BODY for _ in range(jobs))


async def put_from_tasks(client: beanstalkt.Client | beanstalkt.Pool, jobs: int) -> None:
    """Put jobs from many tasks."""

    async def put(numbers: range) -> None:
        for _ in numbers:
            await client.put(BODY)

    await asyncio.gather(*(put(range(task, jobs, TASKS)) for task in range(TASKS)))


@measure(f"a pool: puts of {TASKS} tasks", "one server")
async def put_one(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put single jobs on one server."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            await put_from_tasks(client, jobs)


@measure(f"a pool: puts of {TASKS} tasks", "four servers")
async def put_four(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put single jobs on four servers."""
    async with pool_of(address) as pool:
        with watch:
            await put_from_tasks(pool, jobs)


async def work_in_slots(client: beanstalkt.Client | beanstalkt.Pool, jobs: int) -> None:
    """Reserve and delete jobs in as many tasks as a runner may have slots."""

    async def work(numbers: range) -> None:
        for _ in numbers:
            job = await client.reserve()
            await job.delete()

    await asyncio.gather(*(work(range(slot, jobs, SLOTS)) for slot in range(SLOTS)))


@measure(f"a pool: reserve + delete, {SLOTS} tasks", "one server", commands=2)
async def work_one(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete the jobs of one server."""
    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with watch:
            await work_in_slots(client, jobs)


@measure(f"a pool: reserve + delete, {SLOTS} tasks", "four servers", commands=2)
async def work_four(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete the jobs of four servers."""
    async with pool_of(address, jobs) as pool:
        with watch:
            await work_in_slots(pool, jobs)
