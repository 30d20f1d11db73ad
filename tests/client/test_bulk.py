"""Many commands in one place: each gets its own result, also when the connection is lost."""

from __future__ import annotations

import asyncio

import pytest

from beanstalkt import (
    Client,
    ConnectionLost,
    InvalidArgument,
    JobTooBig,
    UnexpectedResponse,
)
from beanstalkt.client.bulk import MISSING, Bulk, raise_lost
from beanstalkt.protocol.commands import DELETE, PEEK, PUT, STATS_JOB, encode_put

from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.peer import Line, Peer


async def test_each_command_has_its_result(server: AnyServer) -> None:
    async with client_of(server) as client:
        bulk = Bulk(client)
        bodies = [b"x" * size for size in (0, 1, 65536, 2)]
        puts = bulk.send(PUT, [encode_put(0, 0, 9, body) for body in bodies])
        single = client.put(b"in between")
        first, second, refused, last = await puts
        assert isinstance(refused, JobTooBig)
        assert await single == last + 1
        found = bulk.send(PEEK, [PEEK.encode(each) for each in (first, 99, last)])
        assert await found == [(first, b""), MISSING, (last, b"xx")]
        gone = await bulk.send(DELETE, [DELETE.encode(each) for each in (second, second, last)])
        assert gone == [None, MISSING, None]
        assert [len(await bulk.send(STATS_JOB, [b"stats-job 1\r\n"] * n)) for n in (1, 3000)] == [
            1,
            3000,
        ]


async def test_what_was_answered_before_a_loss_is_known() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"delete 1", b"delete 2", b"delete 3")
        line.send(b"DELETED\r\nNOT_FOUND\r\n")

    async with Peer(script) as peer, client_of(peer) as client:
        bulk = Bulk(client)
        results = await bulk.send(DELETE, [DELETE.encode(each) for each in (1, 2, 3)])
        assert results[:2] == [None, MISSING]
        assert isinstance(results[2], ConnectionLost)
        assert results[2].sent
        with pytest.raises(ConnectionLost):
            raise_lost(results)
        # Not on the next connection: the ids may be those of other jobs.
        await client.connect()
        assert bulk.ended
        with pytest.raises(ConnectionLost):
            bulk.send(DELETE, [DELETE.encode(3)])


async def test_a_reply_of_another_kind_is_an_error_of_that_command() -> None:
    async def script(line: Line) -> None:
        await line.expect(b"delete 1", b"delete 2")
        line.send(b"DELETED\r\nKICKED\r\n")
        await line.end()

    async with Peer(script) as peer, client_of(peer) as client:
        results = await Bulk(client).send(DELETE, [DELETE.encode(each) for each in (1, 2)])
        assert results[0] is None
        assert isinstance(results[1], UnexpectedResponse)
        with pytest.raises(UnexpectedResponse):
            raise_lost(results)


async def test_cancelled_it_leaves_the_replies_in_step(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.put_many([b"x"] * 10)
        asked = Bulk(client).send(PEEK, [PEEK.encode(each) for each in range(1, 20)])
        asked.cancel()
        assert (await client.peek(7)).id == 7
        with pytest.raises(asyncio.CancelledError):
            await asked


async def test_without_a_connection_there_is_nothing_to_send_to() -> None:
    with pytest.raises(ConnectionLost):
        Bulk(Client())


async def test_puts_go_to_their_tube_and_the_tube_in_use_stays(server: AnyServer) -> None:
    async with client_of(server) as client:
        bulk = Bulk(client)
        await client.use("mine")
        asked = [bulk.put([encode_put(0, 0, 9, b"x")] * 2, tube) for tube in ("a", "b", "a")]
        assert [await each for each in asked] == [[1, 2], [3, 4], [5, 6]]
        assert [(await client.stats_job(each))["tube"] for each in (2, 4, 6)] == ["a", "b", "a"]
        assert (await client.stats_job(await client.put(b"x")))["tube"] == "mine"
        with pytest.raises(InvalidArgument):
            bulk.put([encode_put(0, 0, 9, b"x")], "a b")
