"""Measure the client of this package."""

from __future__ import annotations

import asyncio
import socket

import beanstalkt
from beanstalkt.protocol import stats

from .bare import ask, load
from .peers import BIG, LISTS, ONE_BY_ONE, STATS
from .registry import BIG_BODY, BODY, TASKS, Address, Stopwatch, measure
from .servers import TUBES, tube_name


@measure("put", f"this client, {TASKS} tasks")
async def put_tasks(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs from many tasks."""

    async def put(jobs: range) -> None:
        for _ in jobs:
            await client.put(BODY)

    async with beanstalkt.Client(*address) as client:
        with watch:
            await asyncio.gather(*(put(range(task, jobs, TASKS)) for task in range(TASKS)))


@measure("put", "this client, put_many")
async def put_many(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs with put_many."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            await client.put_many(BODY for _ in range(jobs))


@measure("put", "this client, one after another", share=ONE_BY_ONE)
async def put(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs one after another."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(jobs):
                await client.put(BODY)


@measure("reserve + delete", f"this client, {TASKS} tasks", commands=2)
async def reserve_delete_tasks(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete jobs from many tasks."""

    async def work(jobs: range) -> None:
        for _ in jobs:
            await client.delete(await client.reserve())

    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with watch:
            await asyncio.gather(*(work(range(task, jobs, TASKS)) for task in range(TASKS)))


@measure("reserve + delete", "this client, one after another", commands=2, share=ONE_BY_ONE)
async def reserve_delete(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete jobs one after another."""
    load(address, jobs)
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(jobs):
                await client.delete(await client.reserve())


@measure("64 KiB: put, reserve, delete", "this client", commands=3, share=BIG)
async def big(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put, reserve and delete large jobs."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(jobs):
                await client.put(BIG_BODY)
                await client.delete(await client.reserve())


@measure("list of 10,000 tubes", "this client", share=LISTS, tubes=TUBES)
async def list_tubes(address: Address, jobs: int, watch: Stopwatch) -> None:
    """List many tubes."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(jobs):
                await client.list_tubes()


@measure("list of 10,000 tubes", "this client's parser alone", share=LISTS, tubes=TUBES)
def parse_list(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Parse a list of many tubes whose bytes have already arrived."""
    with socket.create_connection(address) as sock:
        data = ask(sock, b"list-tubes\r\n")
    with watch:
        for _ in range(jobs):
            stats.parse_list(data)


@measure("stats of one of 10,000 tubes", "this client", share=STATS, tubes=TUBES)
async def stats_tube(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Ask for the statistics of one of many tubes."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for number in range(jobs):
                await client.stats_tube(tube_name(number))


@measure("stats of a server with 10,000 tubes", "this client", share=STATS, tubes=TUBES)
async def server_stats(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Ask for the statistics of a server with many tubes."""
    async with beanstalkt.Client(*address) as client:
        with watch:
            for _ in range(jobs):
                await client.stats()
