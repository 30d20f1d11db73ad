"""Measure two other clients, one command after another. Each is imported when it is measured."""

from __future__ import annotations

from .bare import load
from .registry import BIG_BODY, BODY, Address, Stopwatch, measure
from .servers import TUBES, tube_name

ONE_BY_ONE = 0.25
"""The share of the jobs for measures that do one after another, which takes longer."""

BIG = 0.025
"""The share of the jobs for measures with large bodies."""

LISTS = 0.0005
"""The share of the jobs for measures of long lists."""

STATS = 0.05
"""The share of the jobs for measures of statistics."""


@measure("put", "greenstalk, one after another", share=ONE_BY_ONE)
def greenstalk_put(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    with greenstalk.Client(address, encoding=None) as client, watch:
        for _ in range(jobs):
            client.put(BODY)


@measure("put", "aiostalk, one after another", share=ONE_BY_ONE)
async def aiostalk_put(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for _ in range(jobs):
                await client.put(BODY)


@measure("reserve + delete", "greenstalk, one after another", commands=2, share=ONE_BY_ONE)
def greenstalk_reserve_delete(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    load(address, jobs)
    with greenstalk.Client(address, encoding=None) as client, watch:
        for _ in range(jobs):
            client.delete(client.reserve())


@measure("reserve + delete", "aiostalk, one after another", commands=2, share=ONE_BY_ONE)
async def aiostalk_reserve_delete(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    load(address, jobs)
    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for _ in range(jobs):
                await client.delete(await client.reserve())


@measure("64 KiB: put, reserve, delete", "greenstalk", commands=3, share=BIG)
def greenstalk_big(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    with greenstalk.Client(address, encoding=None) as client, watch:
        for _ in range(jobs):
            client.put(BIG_BODY)
            client.delete(client.reserve())


@measure("64 KiB: put, reserve, delete", "aiostalk", commands=3, share=BIG)
async def aiostalk_big(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for _ in range(jobs):
                await client.put(BIG_BODY)
                await client.delete(await client.reserve())


@measure("list of 10,000 tubes", "greenstalk", share=LISTS, tubes=TUBES)
def greenstalk_list(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    with greenstalk.Client(address, encoding=None) as client, watch:
        for _ in range(jobs):
            client.tubes()


@measure("list of 10,000 tubes", "aiostalk", share=LISTS, tubes=TUBES)
async def aiostalk_list(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for _ in range(jobs):
                await client.tubes()


@measure("stats of one of 10,000 tubes", "greenstalk", share=STATS, tubes=TUBES)
def greenstalk_stats_tube(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    with greenstalk.Client(address, encoding=None) as client, watch:
        for number in range(jobs):
            client.stats_tube(tube_name(number))


@measure("stats of one of 10,000 tubes", "aiostalk", share=STATS, tubes=TUBES)
async def aiostalk_stats_tube(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for number in range(jobs):
                await client.stats_tube(tube_name(number))


@measure("stats of a server with 10,000 tubes", "greenstalk", share=STATS, tubes=TUBES)
def greenstalk_stats(address: Address, jobs: int, watch: Stopwatch) -> None:
    import greenstalk

    with greenstalk.Client(address, encoding=None) as client, watch:
        for _ in range(jobs):
            client.stats()


@measure("stats of a server with 10,000 tubes", "aiostalk", share=STATS, tubes=TUBES)
async def aiostalk_stats(address: Address, jobs: int, watch: Stopwatch) -> None:
    import aiostalk

    async with aiostalk.Client(address, encoding=None) as client:
        with watch:
            for _ in range(jobs):
                await client.stats()
