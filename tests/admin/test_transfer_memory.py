"""What takes jobs elsewhere needs no more memory for many jobs than for few."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from beanstalkt import Client
from beanstalkt.admin import copy, export_jobs, import_jobs, move, select

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of

FEW, MANY = 600, 2400
SIZE = 5000  # bytes of a body
SLACK = (MANY - FEW) * SIZE // 6
"""Bytes that may be added: a small part of what the jobs that are more would take."""


async def peak(operation: Callable[[], Awaitable[Any]]) -> int:
    """Return the bytes that an operation takes at the most."""
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    await operation()
    return tracemalloc.get_traced_memory()[1] - before


async def exported(client: Client) -> AsyncIterator[bytes]:
    async for line in export_jobs(client, select("a")):
        yield line


async def test_memory_is_bounded_whatever_the_number_of_jobs(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    async with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        peaks: list[list[int]] = []
        tracemalloc.start()
        try:
            for count in (FEW, MANY):
                await client.put_many((b"x" * SIZE for _ in range(count)), tube="a")
                journal = tmp_path / f"{len(peaks)}"
                steps: list[Callable[[], Awaitable[Any]]] = [
                    lambda path=journal: import_jobs(  # type: ignore[misc]
                        other, exported(client), tube="b", resume=path
                    ),
                    lambda: copy(client, select("a"), to=other, tube="c"),
                    lambda: move(client, select("a"), to=other, tube="d"),
                ]
                peaks.append([await peak(step) for step in steps])
        finally:
            tracemalloc.stop()
        assert (await client.stats_tube("d"))["current-jobs-ready"] == FEW + MANY
    for few, many in zip(*peaks, strict=True):
        assert many < few + SLACK, peaks


async def test_large_bodies_are_taken_a_few_at_a_time(beanstalkd: Beanstalkd) -> None:
    size, count = 60_000, 250
    async with client_of(beanstalkd) as client, client_of(beanstalkd) as other:
        await client.put_many((b"x" * size for _ in range(count)), tube="a")
        tracemalloc.start()
        try:
            copied = await peak(lambda: copy(client, select("a"), to=other, tube="b"))
            moved = await peak(lambda: move(client, select("a"), to=other, tube="c"))
        finally:
            tracemalloc.stop()
        assert (await client.stats_tube("c"))["current-jobs-ready"] == count
    assert copied < size * count / 2
    assert moved < size * count / 2
