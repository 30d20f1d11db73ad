"""Measure a pool of four servers against one server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from multiprocessing import get_context

import beanstalkt
from beanstalkt.pool.routing import Rendezvous
from beanstalkt.protocol.address import Address as ServerAddress
from beanstalkt.protocol.servers import Server
from beanstalkt.worker import Worker, WorkerJob
from tests.support.beanstalkd import Beanstalkd

from .bare import load
from .http_jobs import logged
from .registry import BODY, TASKS, Address, Stopwatch, at_least, at_most, measure, rate
from .servers import empty

SERVERS = 4
SLOTS = 48
KEYS = 20_000
RUNNER = 0.25


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


async def nothing(job: WorkerJob) -> None:
    """Do no work."""


async def run_slots(servers: str | dict[str, str], jobs: int, watch: Stopwatch) -> None:
    """Run jobs with the runner."""
    with logged():
        worker = Worker(servers, "default", nothing, concurrency=SLOTS, max_jobs=jobs)
        with watch:
            await worker.run(signals=False)


@measure(f"a pool: the runner, {SLOTS} slots", "one server", commands=3, share=RUNNER)
async def run_one(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Run the jobs of one server with the runner."""
    load(address, jobs)
    await run_slots(url(address), jobs, watch)


@measure(f"a pool: the runner, {SLOTS} slots", "four servers", commands=3, share=RUNNER)
async def run_four(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Run the jobs of four servers with the runner."""
    with addresses(address) as found:
        for number, each in enumerate(found):
            load(each, len(range(number, jobs, SERVERS)) + SLOTS)  # some are left at the end
        await run_slots(names(found), jobs, watch)


@measure(f"a pool: {SLOTS} tasks take what {SLOTS} put", "four servers", commands=3, share=RUNNER)
async def under_load(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Count the jobs that came too late, while consumers wait often and producers keep putting."""
    share = max(1, jobs // SLOTS)

    async def put() -> None:
        for _ in range(share):
            await pool.put(BODY)

    async def work() -> None:
        for _ in range(share):
            await (await pool.reserve()).delete()

    async with pool_of(address) as pool:
        with watch:
            await asyncio.gather(*(each() for _ in range(SLOTS) for each in (put, work)))
        watch.counted = 100 * pool.late / (share * SLOTS)


@measure(f"a pool: homes of {KEYS:,} keys", "on 4 servers, and on 5", share=0.0)
def keys(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Count the keys that move when a fifth server is added."""
    chosen = [b"customer-%d" % number for number in range(KEYS)]
    with watch:
        before, after = homes(4, chosen), homes(5, chosen)
    moved = sum(then != now for then, now in zip(before, after, strict=True))
    watch.counted = 100 * moved / KEYS


def homes(servers: int, chosen: list[bytes]) -> list[str]:
    """Return the names of the servers where keys belong."""

    class Home:
        outstanding = 0

        def __init__(self, name: str) -> None:
            self.server = Server(name, ServerAddress())

    rendezvous = Rendezvous([Home(f"s{number}") for number in range(servers)])
    return [next(rendezvous.order(key)).server.name for key in chosen]


def put_in_process(servers: dict[str, str], jobs: int) -> float:
    """Put jobs in a process of its own, and return the seconds that it took."""

    async def put() -> float:
        async with beanstalkt.Pool(servers) as pool:
            began = time.perf_counter()
            await pool.put_many(BODY for _ in range(jobs))
            return time.perf_counter() - began

    return asyncio.run(put())


def put_in_processes(servers: dict[str, str], processes: int, jobs: int) -> float:
    """Put jobs in several processes at once, and return the seconds of the slowest."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as executor:
        share = max(1, jobs // processes)
        started = [executor.submit(put_in_process, servers, share) for _ in range(processes)]
        return max(each.result() for each in started)


@measure("a pool: put_many by processes", "one process, one server")
def one_process(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs from one process on one server."""
    watch.seconds = put_in_processes(names([address]), 1, jobs)


@measure("a pool: put_many by processes", "two processes, four servers")
def two_processes(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs from two processes on four servers."""
    with addresses(address) as found:
        watch.seconds = put_in_processes(names(found), 2, jobs)


async def lose_one(address: Address, watch: Stopwatch, back: bool) -> None:
    """Kill one of three servers under the puts of many tasks, and start it again.

    Counts the milliseconds of the longest pause between two puts after that; or, with `back`, the
    seconds until the server that is back takes puts again.
    """
    killed = Beanstalkd()
    killed.start()
    times: list[float] = []
    last = ""
    over = False

    async def put() -> None:
        nonlocal last
        while not over:
            try:
                last = await pool.put(BODY)
                times.append(time.perf_counter())
            except beanstalkt.ConnectionLost:
                pass  # it was under way on the server that was killed
            await asyncio.sleep(0.02)

    with empty() as other:
        servers = {"a": url(address), "b": url(other), "c": killed.url}
        async with beanstalkt.Pool(servers) as pool:
            tasks = [asyncio.ensure_future(put()) for _ in range(TASKS)]
            with watch:
                await asyncio.sleep(0.3)
                killed.kill()
                began = time.perf_counter()
                await asyncio.sleep(0.7)
                after = [began, *(when for when in times if when > began)]
                pauses = [then - when for when, then in pairwise(after)]
                killed.start()
                began = time.perf_counter()
                while not last.startswith("c/"):
                    await asyncio.sleep(0.001)
                until_used = time.perf_counter() - began
            over = True
            await asyncio.gather(*tasks)
    killed.stop()
    watch.counted = until_used if back else 1000 * max(pauses)


@measure("a pool: one of three servers is killed", "puts go on", share=0.0)
async def pause(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Measure for how long no put of any task went in."""
    await lose_one(address, watch, back=False)


@measure("a pool: one of three servers is killed", "it is used again", share=0.0)
async def back(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Measure how long it took until the server that was started again was used."""
    await lose_one(address, watch, back=True)


at_least(1.2, "put_many on four servers, against one", rate(put_many_four, put_many_one))
at_least(0.7, f"puts of {TASKS} tasks on four servers, against one", rate(put_four, put_one))
at_least(
    0.85, f"reserve + delete of {SLOTS} tasks, four servers against one", rate(work_four, work_one)
)
at_least(0.85, f"the runner with {SLOTS} slots, four servers against one", rate(run_four, run_one))
at_most(
    1.0, "% of jobs that came too late, under load", lambda samples: samples[under_load].counted
)
at_most(50.0, "ms of the longest pause after a kill", lambda samples: samples[pause].counted)
at_most(2.0, "s until a server that is back is used", lambda samples: samples[back].counted)
at_least(18.0, "% of keys that move from 4 to 5 servers", lambda samples: samples[keys].counted)
at_most(22.0, "% of keys that move from 4 to 5 servers", lambda samples: samples[keys].counted)
if (os.cpu_count() or 1) >= SERVERS + 2:  # each server and each process needs one
    at_least(
        1.5,
        "two processes and four servers, against one and one",
        rate(two_processes, one_process),
    )
