"""One FIFO: what leaves when, in what order, and what is held."""

from __future__ import annotations

import asyncio
import logging
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

import pytest

import beanstalkt
from beanstalkt import Client, ConnectionLost, TimedOut
from beanstalkt.client.timing import Timing

from ..support.clients import client_of
from ..support.embedded import AnyServer
from ..support.peer import Line, Peer
from ..support.writes import Writes

PUT_X = b"put 2147483648 0 120 1\r\nx\r\n"


# --- when ---


async def test_on_an_idle_connection_a_command_leaves_at_once(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        writes = Writes(server.port, monkeypatch)
        put = client.put(b"x")
        assert writes.take() == [PUT_X]  # before the loop turns
        await put
        many = client.put_many([b"y"] * 3, tube="t")
        sent = b"".join(writes.all)
        assert sent.startswith(b"use t\r\nput ")
        await many


async def test_what_one_turn_issues_leaves_in_one_write(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        writes = Writes(server.port, monkeypatch)
        busy = client.list_tubes()
        assert writes.take() == [b"list-tubes\r\n"]
        puts = [client.put(b"%d" % number) for number in range(1000)]
        others = [client.use("a"), client.put(b"x", tube="b"), client.reserve_job(5)]
        assert writes.take() == []
        await busy
        await asyncio.gather(*puts, *others)
        (written,) = writes.take()
        assert written.count(b"put ") == 1001
        assert written.endswith(b"use a\r\nuse b\r\n" + PUT_X + b"use a\r\nreserve-job 5\r\n")


async def test_two_hundred_tasks_share_their_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rounds(line: Line) -> None:
        # All at once: how many share a write would depend on how fast the answers come.
        for first in range(1, 2001, 200):
            for _ in range(200):
                await line.command()
            line.send(b"".join(b"INSERTED %d\r\n" % n for n in range(first, first + 200)))
        await line.end()

    async with Peer(rounds) as peer, Client(peer.host, peer.port) as client:
        writes = Writes(peer.port, monkeypatch)

        async def put_ten() -> list[int]:
            return [await client.put(b"x") for _ in range(10)]

        ids = await asyncio.gather(*[put_ten() for _ in range(200)])
        assert sorted(chain.from_iterable(ids)) == list(range(1, 2001))
        # In each round the first leaves at once, and all others together.
        assert len(writes.take()) == 20


async def test_commands_together_share_a_write(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        await client.put(b"x")
        writes = Writes(server.port, monkeypatch)
        with client.together():
            first = client.reserve()
            second = client.reserve(0)
            assert writes.take() == []
        assert writes.take() == [b"reserve\r\nreserve-with-timeout 0\r\n"]
        job = await first
        with pytest.raises(TimedOut):
            await second
        with suppress(ZeroDivisionError), client.together():
            deleted = client.delete(job)
            raise ZeroDivisionError
        assert writes.take() == [b"delete %d\r\n" % job.id]
        await deleted
        with client.together():
            pass
        assert writes.take() == []
        with client.together():  # also those that nothing may come between
            puts = [client.put(b"x", tube="t"), client.put(b"x")]
            assert writes.take() == []
        assert writes.take() == [b"use t\r\n" + PUT_X + b"use default\r\n" + PUT_X]
        await asyncio.gather(*puts)
        listed = client.list_tubes()  # and at once again
        assert writes.take() == [b"list-tubes\r\n"]
        await listed


async def test_of_blocks_within_one_another_the_outermost_counts(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        await client.put(b"x")
        writes = Writes(server.port, monkeypatch)
        calls: list[asyncio.Future[Any]] = []
        for fails in (False, True):
            with suppress(ZeroDivisionError), client.together():
                with client.together():
                    calls.append(client.put(b"x"))
                assert writes.take() == []
                with suppress(KeyError), client.together():
                    raise KeyError
                calls.append(client.put(b"x"))
                assert writes.take() == []
                if fails:
                    raise ZeroDivisionError
            assert writes.take() == [2 * PUT_X]
        await asyncio.gather(*calls)
        calls.append(client.list_tubes())  # and at once again
        assert writes.take() == [b"list-tubes\r\n"]
        await calls[-1]


async def test_commands_together_without_a_connection() -> None:
    client = Client()
    with client.together():
        lost = client.put(b"x")
    with pytest.raises(ConnectionLost):
        await lost


async def test_the_connection_goes_while_commands_are_together(server: AnyServer) -> None:
    async with client_of(server) as client:
        with client.together():
            put = client.put(b"x")
            client.close()
        # It was taken before the close, and counts.
        assert await put == 1


# --- in what order ---


async def test_each_reply_goes_to_its_own_caller(server: AnyServer) -> None:
    """Commands of all kinds, pipelined: the reply tells which one it belongs to."""
    chance = random.Random(3)
    async with client_of(server) as client:
        ids = await client.put_many(b"%d" % number for number in range(200))
        expected: list[object] = []
        calls: list[asyncio.Future[Any]] = []
        for _ in range(5000):
            job_id = chance.choice(ids)
            name = f"tube-{chance.randrange(10)}"
            kind = chance.randrange(4)
            if kind == 0:
                calls.append(client.peek(job_id))
                expected.append({"id": job_id, "body": b"%d" % (job_id - 1)})
            elif kind == 1:
                calls.append(client.use(name))
                expected.append(name)
            elif kind == 2:
                calls.append(client.touch(job_id))
                expected.append(beanstalkt.NotFound)
            else:
                calls.append(client.stats_job(job_id))
                expected.append(job_id)
        for reply, wanted in zip(
            await asyncio.gather(*calls, return_exceptions=True), expected, strict=True
        ):
            if isinstance(wanted, int):
                assert reply["id"] == wanted  # type: ignore[index]
            elif isinstance(wanted, type):
                assert type(reply) is wanted
            else:
                assert reply == wanted


async def test_two_tasks_that_put_into_different_tubes_never_mix(server: AnyServer) -> None:
    async with client_of(server) as client:
        await client.use("own")

        async def put_all(tube: str, count: int) -> None:
            for number in range(count):
                await client.put(b"%d" % number, tube=tube)

        async def put_own(count: int) -> None:
            for number in range(count):
                if number % 10 == 0:
                    await client.use("own" if number % 20 else "own-too")
                await client.put(b"x")

        await asyncio.gather(put_all("a", 5000), put_all("b", 5000), put_own(1000))
        totals = {name: (await client.stats_tube(name))["total-jobs"] for name in ("a", "b")}
        assert totals == {"a": 5000, "b": 5000}
        own = [(await client.stats_tube(name))["total-jobs"] for name in ("own", "own-too")]
        assert own == [500, 500]


# --- holding ---


async def test_a_waiting_reserve_holds_the_line_and_keeps_the_order(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        writes = Writes(server.port, monkeypatch)
        reserve = client.reserve()
        held: list[asyncio.Future[Any]] = [client.use("a"), client.put(b"1"), client.use("b")]
        behind = client.reserve(30)  # it may not overtake what is held
        last = client.put(b"2")
        await asyncio.sleep(0.05)
        assert writes.take() == [b"reserve\r\n"]
        assert not any(call.done() for call in (reserve, *held, behind, last))
        await other.put(b"go")
        assert (await reserve).body == b"go"
        assert await asyncio.gather(*held) == ["a", 2, "b"]
        assert not last.done()
        await other.put(b"go on")
        assert (await behind).body == b"go on"
        assert (await client.stats_job(await last))["tube"] == "b"
        sent = b"".join(writes.take())
        order = [b"use a", b"\r\n1\r\n", b"use b", b"reserve-with-timeout 30", b"\r\n2\r\n"]
        places = [sent.index(each) for each in order]
        assert places == sorted(places)


async def test_further_reserves_pass_a_waiting_one(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        writes = Writes(server.port, monkeypatch)
        reserves = [client.reserve(), client.reserve(60), client.reserve(50), client.reserve()]
        await asyncio.sleep(0)
        assert b"".join(writes.take()) == (
            b"reserve\r\nreserve-with-timeout 60\r\nreserve-with-timeout 50\r\nreserve\r\n"
        )
        await other.put_many([b"0", b"1", b"2", b"3"])
        assert [(await each).body for each in reserves] == [b"0", b"1", b"2", b"3"]


async def test_reserve_0_and_reserve_job_hold_nothing(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(server) as client:
        writes = Writes(server.port, monkeypatch)
        calls: list[asyncio.Future[Any]] = [client.list_tubes(), client.reserve(0)]
        calls += [client.reserve_job(1), client.put(b"x")]
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(writes.take()) == 2  # the first one, and all the others
        # But behind a waiting reserve a reserve_job waits as all others do.
        reserve, asked = client.reserve(), client.reserve_job(2)
        await reserve
        with pytest.raises(beanstalkt.NotFound):
            await asked


async def test_a_tube_switch_behind_a_waiting_reserve_stays_one_unit(
    server: AnyServer,
) -> None:
    async with client_of(server) as client, client_of(server) as other:
        reserve = client.reserve()
        puts = [client.put(b"1", tube="a"), client.put(b"2"), client.put(b"3", tube="b")]
        await other.put(b"go")
        await reserve
        tubes = [(await client.stats_job(await put))["tube"] for put in puts]
        assert tubes == ["a", "default", "b"]


async def test_a_warning_says_once_what_holds_a_command(
    server: AnyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        client_of(server, timing=Timing(hold_warning=0.05)) as client,
        client_of(server) as other,
    ):
        for _ in range(2):
            reserve, put = client.reserve(), client.put(b"held")
            while not caplog.records:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            await other.put(b"go", 0)
            await (await reserve).delete()
            await client.delete(await put)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "beanstalkt")
    message = record.getMessage()
    assert "put" in message
    assert "reserve" in message
    assert "second Client" in message


async def test_a_short_hold_is_not_worth_a_warning(
    server: AnyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        client_of(server, timing=Timing(hold_warning=0.3)) as client,
        client_of(server) as other,
    ):
        for _ in range(3):
            reserve, put = client.reserve(), client.put(b"held")
            await other.put(b"go", 0)
            await (await reserve).delete()
            await client.delete(await put)
        await asyncio.sleep(0.4)
    assert not caplog.records


# --- put_many ---


def bodies(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%d" % number


@pytest.mark.gen_test(timeout=120)
async def test_put_many_takes_a_huge_generator_in_bounded_memory(server: AnyServer) -> None:
    taken = 0
    answered = 0
    most = 0

    async def play(line: Line) -> None:
        """Counts puts, without keeping them."""
        nonlocal answered
        rest = b""
        while data := await line.reader.read(2**18):
            data = rest + data
            end = data.rfind(b"\r\n") + 2
            done, rest = data[:end], data[end:]
            count = done.count(b"\r\n") // 2
            if done.count(b"\r\n") % 2:  # a line without its body
                cut = done[:-2].rfind(b"\r\n") + 2
                rest = done[cut:] + rest
            line.send(b"".join(b"INSERTED %d\r\n" % (answered + n) for n in range(1, count + 1)))
            answered += count

    def counted(count: int) -> Iterator[bytes]:
        nonlocal taken, most
        for body in bodies(count):
            taken += 1
            most = max(most, taken - answered)
            yield body

    async with Peer(play) as peer, client_of(peer) as client:
        await client.put_many(bodies(5000))
        base = answered
        taken = base
        tracemalloc.start()
        try:
            ids = await client.put_many(counted(100_000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert ids == list(range(base + 1, base + 100_001))
    assert most < 5_000
    # The ids themselves take 100,000 ints of 32 bytes and a list: 4 MB.
    assert peak < 10_000_000


async def test_put_many_into_a_real_server(server: AnyServer) -> None:
    async with client_of(server) as client:
        ids = await client.put_many(bodies(100_000), ttr=5)
        assert ids == list(range(1, 100_001))
        assert (await client.peek(ids[77_777])).body == b"77777"
        assert (await client.stats())["current-jobs-ready"] == 100_000


async def test_others_get_their_turn_beside_put_many(server: AnyServer) -> None:
    async with client_of(server) as client:
        many = client.put_many(bodies(50_000), tube="many")
        turns = 0
        while not many.done():
            assert (await client.stats_tube("default"))["name"] == "default"
            assert (await client.put(b"x", tube="few")) > 0
            turns += 1
        assert turns > 5
        assert len(await many) == 50_000
        assert (await client.stats_tube("many"))["total-jobs"] == 50_000
        assert (await client.stats_tube("few"))["total-jobs"] == turns


async def test_put_many_of_large_bodies(server: AnyServer) -> None:
    async with client_of(server) as client:
        ids = await client.put_many(bytes([number]) * 65535 for number in range(200))
        for number in (0, 99, 199):
            assert (await client.peek(ids[number])).body == bytes([number]) * 65535


@pytest.mark.parametrize("index", [0, 1, 700, 1999])
async def test_put_many_says_which_ones_went_in(server: AnyServer, index: int) -> None:
    async with client_of(server) as client:
        some = [b"x"] * 2000
        some[index] = b"x" * 65536
        with pytest.raises(beanstalkt.JobTooBig) as caught:
            await client.put_many(some)
        error = caught.value
        assert error.ids is not None
        assert error.ids[index] is None
        went_in = [job_id for job_id in error.ids if job_id is not None]
        assert len(went_in) == len(error.ids) - 1 >= index
        assert (await client.stats())["total-jobs"] == len(went_in)
        assert str(len(went_in)) in str(error)
        for job_id in (went_in[:1], went_in[-1:]):
            if job_id:
                assert (await client.peek(job_id[0])).body == b"x"
        assert error.command == "put"


@pytest.mark.parametrize("index", [0, 1, 700, 1999])
async def test_put_many_with_a_body_that_is_none(server: AnyServer, index: int) -> None:
    async with client_of(server) as client:
        some: list[Any] = [b"x"] * 2000
        some[index] = 5
        with pytest.raises(beanstalkt.InvalidArgument, match=f"{index} went in") as caught:
            await client.put_many(some)
        assert caught.value.ids == list(range(1, index + 1))
        assert (await client.stats())["total-jobs"] == index


async def test_put_many_with_a_generator_that_raises(server: AnyServer) -> None:
    def broken() -> Iterator[bytes]:
        yield from bodies(1500)
        raise ZeroDivisionError

    async with client_of(server) as client:
        with pytest.raises(ZeroDivisionError):
            await client.put_many(broken())
        assert (await client.stats())["total-jobs"] == 1500
        assert await client.put(b"next") == 1501


async def test_put_many_that_waits_behind_a_reserve(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as other:
        reserve = client.reserve()
        many = client.put_many(bodies(3000), 5000, tube="t")
        put = client.put(b"y")
        await other.put(b"go", 0)
        await reserve
        assert len(await many) == 3000
        assert (await client.stats_tube("t"))["total-jobs"] == 3000
        assert (await client.stats_job(await put))["tube"] == "default"


async def test_several_put_many_at_once(server: AnyServer) -> None:
    async with client_of(server) as client:
        calls = [client.put_many(bodies(3000), tube=f"t{number}") for number in range(5)]
        results = await asyncio.gather(*calls)
        assert sorted(chain.from_iterable(results)) == list(range(1, 15_001))
        for number, ids in enumerate(results):
            assert ids == sorted(ids)
            assert (await client.stats_tube(f"t{number}"))["total-jobs"] == 3000
            assert (await client.peek(ids[2999])).body == b"2999"
