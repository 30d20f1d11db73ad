"""Measure the blocking client of this package."""

from __future__ import annotations

from beanstalkt.blocking import Client

from .bare import load
from .peers import BIG, ONE_BY_ONE
from .registry import BIG_BODY, BODY, Address, Stopwatch, measure


@measure("put", "blocking client, one after another", share=ONE_BY_ONE)
def put(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs one after another."""
    with Client(*address) as client, watch:
        for _ in range(jobs):
            client.put(BODY)


@measure("put", "blocking client, put_many")
def put_many(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put jobs with put_many."""
    with Client(*address) as client, watch:
        client.put_many(BODY for _ in range(jobs))


@measure("reserve + delete", "blocking client, one after another", commands=2, share=ONE_BY_ONE)
def reserve_delete(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Reserve and delete jobs one after another."""
    load(address, jobs)
    with Client(*address) as client, watch:
        for _ in range(jobs):
            client.delete(client.reserve())


@measure("64 KiB: put, reserve, delete", "blocking client", commands=3, share=BIG)
def big(address: Address, jobs: int, watch: Stopwatch) -> None:
    """Put, reserve and delete large jobs."""
    with Client(*address) as client, watch:
        for _ in range(jobs):
            client.put(BIG_BODY)
            client.delete(client.reserve())
