"""A search for a regular expression is bounded, keeps nobody waiting, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanstalkt.admin import JobRecord, PatternTooSlow, list_jobs, select, tail
from beanstalkt.admin import pattern_search as module
from beanstalkt.admin.pattern_search import PatternSearch

from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.leftovers import nothing_left
from ..support.processes import children, no_child_left
from ..support.waiting import soon, until

ENDLESS = rb"^(a|aa)+$"
TRAP = b"a" * 60 + b"!"
"""The two together take longer than anybody lives."""


def records(*bodies: bytes) -> list[JobRecord]:
    return [
        JobRecord(number, "default", "ready", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, body)
        for number, body in enumerate(bodies, 1)
    ]


@settings(max_examples=20)
@given(st.lists(st.lists(st.binary(max_size=20), max_size=5), max_size=3))
def test_it_finds_what_python_finds(batches: list[list[bytes]]) -> None:
    pattern = re.compile(rb"[0-9a].*[^b\n]", re.IGNORECASE)

    async def search() -> None:
        search = PatternSearch(pattern)
        try:
            for bodies in batches:
                found = await search.search(records(*bodies))
                assert found == [bool(pattern.search(body)) for body in bodies]
        finally:
            search.close()

    asyncio.run(search())


async def test_bodies_may_be_long_and_many() -> None:
    search = PatternSearch(re.compile(rb"end$"))
    many = [b"x" * 5_000_000 + b"end", *[b"", b"the end"] * 20_000]
    async with nothing_left():
        found = await search.search(records(*many))
        assert found == [True, *[False, True] * 20_000]
        assert await search.search(records(b"end")) == [True]
        search.close()
    no_child_left()


async def test_a_pattern_that_takes_too_long_is_ended_and_named() -> None:
    search = PatternSearch(re.compile(ENDLESS), limit=0.2)
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.ensure_future(tick())
    message = "takes longer than 0.2 s in the body of job 2: use one without nested"
    with pytest.raises(PatternTooSlow, match=message):
        # More than the socket takes at once comes after it.
        await search.search(records(b"aaa", TRAP, b"x" * 1_000_000))
    assert turns > 10  # the loop went on
    ticking.cancel()
    no_child_left()
    assert await search.search(records(b"aaa")) == [True]  # it may be used again
    search.close()


async def test_a_process_that_is_killed_is_an_error_too() -> None:
    search = PatternSearch(re.compile(ENDLESS))
    searching = asyncio.ensure_future(search.search(records(b"a", TRAP)))
    await until(children, "the process runs")
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(PatternTooSlow, match="ended with status -9"):
        await soon(searching)
    no_child_left()


async def test_too_much_memory_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    source = module._SOURCE.replace("MEMORY = 2**30", "MEMORY = 2**26")
    monkeypatch.setattr(module, "_SOURCE", source)
    search = PatternSearch(re.compile(rb"x"))
    with pytest.raises(PatternTooSlow, match="could not be searched for"):
        await search.search(records(b"y" * 2**27))
    no_child_left()


async def test_a_cancelled_search_leaves_no_process() -> None:
    search = PatternSearch(re.compile(ENDLESS))
    async with nothing_left():
        searching = asyncio.ensure_future(search.search(records(TRAP)))
        await until(children, "the process runs")
        searching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await searching
    no_child_left()


async def test_a_scan_that_is_left_in_the_middle_leaves_no_process(server: AnyServer) -> None:
    before = children()
    async with client_of(server) as client:
        await client.put_many([b"found"] * 3)
        scan: Any = list_jobs(client, select(pattern="fou"))
        assert (await scan.__anext__()).body == b"found"
        assert children() != before
        del scan
        gc.collect()
        assert children() == before
        assert [each.id async for each in list_jobs(client, select(pattern="fou"))] == [1, 2, 3]
        assert children() == before


async def test_a_scan_ends_with_the_error_and_a_tail_too(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.1)
    before = children()
    async with client_of(server) as client:
        following = tail(client, select(pattern=ENDLESS), interval=0.01)
        first = asyncio.ensure_future(following.__anext__())
        await asyncio.sleep(0)
        await client.put(b"aaa")
        assert (await soon(first)).id == 1
        await client.put(TRAP)
        with pytest.raises(PatternTooSlow, match="job 2"):
            await soon(following.__anext__())
        scan = list_jobs(client, select(pattern=ENDLESS, until_id=2))
        with pytest.raises(PatternTooSlow, match="job 2"):
            [each async for each in scan]
        assert children() == before


async def test_it_ends_when_the_one_that_started_it_is_killed() -> None:
    """The alarm is the process's own."""
    process = module._Process(0.3)
    data = struct.pack("!II", 0, len(ENDLESS)) + ENDLESS
    data += struct.pack("!I", 3) + b"aaa" + struct.pack("!I", len(TRAP)) + TRAP
    assert await process.ask(bytearray(data), 1) == b"+"
    process._socket.close()  # as the system does for one that is killed
    await until(lambda: process._process.poll() is not None, "it ends by itself")
    assert process.status() == -signal.SIGALRM
