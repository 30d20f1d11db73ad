"""Reading in bulk for put_many, and what comes behind it."""

from __future__ import annotations

import asyncio

import pytest

from beanstalkt import Client

from ..embedded import AnyServer


@pytest.mark.parametrize("tube", [None, "elsewhere"])
async def test_a_single_reply_behind_many_is_read_as_it_comes(
    server: AnyServer, tube: str | None
) -> None:
    async with Client(server.host, server.port) as client:
        for count in (1, 2, 3, 500, 513, 2000):
            await asyncio.wait_for(client.put_many([b"x"] * count, tube=tube), 10)
            await asyncio.wait_for(client.put(b"y"), 5)


async def test_commands_between_the_chunks_are_answered(server: AnyServer) -> None:
    async with Client(server.host, server.port) as client:
        many = client.put_many([b"x"] * 20_000)
        answered = 0
        while not many.done():
            assert await asyncio.wait_for(client.list_tube_used(), 5) == "default"
            answered += 1
        assert answered > 1
        assert len(await many) == 20_000


async def test_ids_come_in_the_order_of_the_bodies(server: AnyServer) -> None:
    async with Client(server.host, server.port) as client:
        ids = await client.put_many(str(number) for number in range(1500))
        for number in (0, 511, 512, 1499):
            assert (await client.peek(ids[number])).body == b"%d" % number
