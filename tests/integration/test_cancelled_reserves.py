"""A cancelled reserve in the way of other commands, while the connection holds jobs."""

from __future__ import annotations

import asyncio

import pytest

from beanstalkt import Client, NotFound
from beanstalkt.client.timing import Timing

from ..support.embedded import AnyServer


def connections(server: AnyServer) -> int:
    """How many connections there have been, this one included."""
    with server.connect() as sock, sock.makefile("rb") as replies:
        sock.sendall(b"stats\r\n")
        lines = replies.read(int(replies.readline().split()[1])).decode().splitlines()
    return int(next(line for line in lines if line.startswith("total-conn")).split()[1])


async def test_a_job_that_ran_out_of_time_unnoticed_does_not_keep_the_connection(
    server: AnyServer,
) -> None:
    async with Client(server.host, server.port, timing=Timing(held_check=0.05)) as client:
        await client.put(b"job", ttr=1)
        job = await client.reserve()
        # Another worker takes it as soon as its time is over.
        async with Client(server.host, server.port) as other:
            taken = other.reserve()
            while not taken.done():
                # beanstalkd 1.12 may forget the time of a job whose connection is silent.
                await client.list_tube_used()
                await asyncio.wait([taken], timeout=0.1)
            await (await taken).delete()
        reserve = client.reserve()
        await asyncio.sleep(0)
        reserve.cancel()
        with pytest.raises(NotFound):
            await asyncio.wait_for(client.stats_job(job.id), 10)


async def test_a_job_that_is_held_is_not_given_away(
    server: AnyServer,
) -> None:
    async with Client(server.host, server.port, timing=Timing(held_check=0.05)) as client:
        await client.put(b"job", ttr=3)
        job = await client.reserve()
        before = connections(server)
        reserve = client.reserve()
        await asyncio.sleep(0)
        reserve.cancel()
        # Held until DEADLINE_SOON ends the reserve, and then still ours.
        await asyncio.wait_for(job.delete(), 10)
        # Asked once on another connection, and that was all.
        assert connections(server) <= before + 2
