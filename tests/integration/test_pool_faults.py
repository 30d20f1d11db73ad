"""A pool while its servers are killed, frozen, draining or full; no acknowledged job is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import (
    Client,
    ConnectionLost,
    Draining,
    OutOfMemory,
    Pool,
    ReservationLost,
    TimedOut,
)
from beanstalkt.pool import reserving

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.peer import Line, Peer
from ..support.several import Servers, counts, pool_of, several, urls_of
from ..support.waiting import TIMEOUT, soon, until, until_awaited


@pytest.fixture
def servers(patient: None) -> Iterator[Servers]:
    with several(3) as found:
        yield found


class Load:
    """Tasks that put and tasks that reserve, and what they know of each job."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.acknowledged: dict[str, str] = {}  # the id of each body
        self.unknown: set[str] = set()  # bodies that a server may have taken
        self.nameless = 0  # errors that do not name the server
        self.taken: Counter[str] = Counter()
        self.stopped = False
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, producers: int, consumers: int) -> None:
        self.producers = [
            asyncio.ensure_future(self.produce(number)) for number in range(producers)
        ]
        self.consumers = [asyncio.ensure_future(self.consume()) for _ in range(consumers)]

    async def produce(self, number: int) -> None:
        serial = 0
        while not self.stopped:
            serial += 1
            body = f"{number}-{serial}"
            try:
                self.acknowledged[body] = await self.pool.put(body)
            except ConnectionLost as error:
                self.nameless += error.server is None
                if error.sent:
                    self.unknown.add(body)
            await asyncio.sleep(0.01)

    async def consume(self) -> None:
        while True:
            try:
                job = await self.pool.reserve()
                self.taken[job.body.decode()] += 1
                await job.delete()
            except ConnectionLost:
                await self.pool.connect()

    async def stop(self, left: Servers) -> None:
        """Stop putting, take all that is left, and stop reserving."""
        self.stopped = True
        await asyncio.gather(*self.producers)

        async def empty() -> bool:
            for server in left.values():
                async with client_of(server) as client:
                    stats = await client.stats()
                    if stats["current-jobs-ready"] or stats["current-jobs-reserved"]:
                        return False
            return True

        deadline = time.monotonic() + TIMEOUT
        while not await empty():
            assert time.monotonic() < deadline, "jobs are left"
            await asyncio.sleep(0.02)
        for task in self.consumers:
            task.cancel()
        await asyncio.gather(*self.consumers, return_exceptions=True)


async def test_a_server_is_killed_and_comes_back_with_its_binlog(tmp_path: Path) -> None:
    """200 tasks put and 60 reserve while one of three servers is killed and restarted."""
    with several(2) as servers:
        directory = tmp_path / "c"
        directory.mkdir()
        killed = servers["c"] = Beanstalkd("-b", str(directory), "-f", "0")
        killed.start()
        try:
            async with pool_of(servers, reconnect_delay=1.0) as pool:
                load = Load(pool)
                load.start(200, 60)
                await until(lambda: len(load.acknowledged) > 500)
                killed.kill()
                await until(lambda: "c" not in pool.usable)
                before = len(load.acknowledged)
                await until(lambda: len(load.acknowledged) > before + 500)
                killed.start()
                back = time.monotonic()
                await until(lambda: "c" in pool.usable)
                assert time.monotonic() - back < 5  # 2 s where nothing else runs
                count = len(load.acknowledged)
                await until(
                    lambda: any(
                        job_id.startswith("c/")
                        for job_id in list(load.acknowledged.values())[count:]
                    )
                )
                await load.stop(servers)
        finally:
            killed.stop()
        lost = load.acknowledged.keys() - load.taken.keys()
        assert not lost
        assert not load.nameless
        # A job whose delete was lost with the connection is run again; so is one that was put
        # again. Nothing else is done twice.
        twice = [body for body, times in load.taken.items() if times > 1]
        assert all(
            body in load.unknown or load.acknowledged[body].startswith("c/") for body in twice
        )
        assert load.taken.keys() <= load.acknowledged.keys() | load.unknown


async def test_puts_go_on_at_once_where_the_connection_is_refused(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        servers["a"].kill()
        await until(lambda: "a" not in pool.usable)
        ids = [await soon(pool.put(b"x")) for _ in range(20)]
        assert counts(ids) == {"b": 10, "c": 10}
        ids = await soon(pool.put_many([b"x"] * 3000))
        assert set(counts(ids)) == {"b", "c"}
        servers["a"].start()
        await until(lambda: "a" in pool.usable)
        assert "a" in counts([await pool.put(b"x") for _ in range(3)])


async def test_a_put_that_a_lost_server_may_have_is_raised_or_doubled(servers: Servers) -> None:
    async def take_and_hang_up(line: Line) -> None:
        while True:
            command = await line.command()
            if command.startswith(b"put"):
                line.reset()
                return
            line.send(b"USING default\r\n")

    async with Peer(take_and_hang_up) as peer:
        urls = {"a": f"beanstalk://{peer.host}:{peer.port}", "b": servers["b"].url}
        async with Pool(urls, reconnect_delay=0.02) as pool:
            key = next(k for k in map(str, range(100)) if pool.server_of(k) == "a")
            with pytest.raises(ConnectionLost) as caught:
                await soon(pool.put(b"x", key=key, strict=False))
            assert (caught.value.server, caught.value.sent) == ("a", True)
            await until(lambda: "a" in pool.usable)
            put = await soon(pool.put(b"x", key=key, strict=False, may_double=True))
            assert put.startswith("b/")
            await until(lambda: "a" in pool.usable)
            with pytest.raises(ConnectionLost) as caught:
                await soon(pool.put_many([b"x"] * 600))
            assert caught.value.ids is not None
            assert caught.value.server == "a"
            await until(lambda: "a" in pool.usable)
            ids = await soon(pool.put_many([b"x"] * 600, may_double=True))
            assert counts(ids) == {"b": 600}


async def test_a_key_stays_with_its_server_unless_it_may_move(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        home = pool.server_of("k")
        servers[home].kill()
        await until(lambda: home not in pool.usable)
        verbs: list[Callable[..., Any]] = [
            pool.put,
            lambda *given, **key: pool.put_many([b"x"], **key),
        ]
        for verb in verbs:
            with pytest.raises(ConnectionLost) as caught:
                await verb(b"x", key="k")
            assert (caught.value.server, caught.value.sent) == (home, False)
        put = await pool.put(b"x", key="k", strict=False)
        assert not put.startswith(home)
        assert put.startswith(counts([await pool.put(b"x", key="k", strict=False)]).popitem()[0])


async def test_a_frozen_server_delays_nobody_but_those_that_wait_for_it(servers: Servers) -> None:
    async with pool_of(servers, response_timeout=2.0) as pool:
        servers["a"].freeze()
        puts = [pool.put(b"x") for _ in range(3)]  # one of them goes there
        await until(lambda: sum(put.done() for put in puts) == 2)
        await asyncio.sleep(0.3)  # patience is over
        began = time.monotonic()
        done = [await soon(pool.put(b"x")) for _ in range(40)]
        done += await soon(pool.put_many([b"x"] * 2000))
        assert "a" not in counts(done)
        for _ in range(100):
            await (await soon(pool.reserve())).delete()
        assert time.monotonic() - began < 10
        errors = [
            result
            for result in await asyncio.gather(*puts, return_exceptions=True)
            if isinstance(result, BaseException)
        ]
        assert [type(error) for error in errors] == [ConnectionLost]
        # It accepts connections, but answers nothing: it is used only once it does.
        await asyncio.sleep(0.1)
        assert "a" not in pool.usable
        servers["a"].thaw()
        await until(lambda: "a" in pool.usable)


async def test_a_reserve_does_not_wait_for_a_frozen_server(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        ids = await pool.put_many([b"x"] * 10, tube="t")
        await pool.watch("t")
        frozen = servers[min(servers.keys() - counts(ids).keys())]
        frozen.freeze()
        jobs = [await soon(pool.reserve()) for _ in range(10)]
        assert len({job.id for job in jobs}) == 10
        waiting = pool.reserve()
        put = [await soon(pool.put(b"y")) for _ in range(1)]
        assert (await soon(waiting)).id in put
        assert (await soon(pool.stats()))["current-jobs-reserved"] == 11
        frozen.thaw()


async def test_what_a_thawed_server_brings_too_late_goes_back(servers: Servers) -> None:
    async with pool_of(servers) as pool, client_of(servers["b"]) as client:
        number = await client.put(b"x", priority=44)
        servers["b"].freeze()
        async with client_of(servers["a"]) as other:
            await other.put_many([b"y"] * 6)
        for _ in range(6):
            await (await soon(pool.reserve())).delete()
        servers["b"].thaw()
        await until(lambda: "b" in pool.usable)

        async def ready() -> bool:
            return (await client.stats_job(number))["state"] == "ready"

        deadline = time.monotonic() + TIMEOUT
        while not await ready():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert (await client.stats_job(number))["pri"] == 44


async def test_a_server_that_drains_is_only_consumed(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await pool.put_many([b"x"] * 600)
        servers["a"].signal(signal.SIGUSR1)
        ids = [await soon(pool.put(b"x")) for _ in range(20)]
        ids += await soon(pool.put_many([b"x"] * 2000))
        assert set(counts(ids)) == {"b", "c"}
        taken = [job.server async for job in pool.jobs(0)]
        assert len(taken) == 2620
        assert "a" in taken
        for server in ("b", "c"):
            servers[server].signal(signal.SIGUSR1)
        before = (await pool.stats())["cmd-put"]
        with pytest.raises(Draining) as caught:
            await soon(pool.put(b"x"))
        assert caught.value.server in servers
        assert (await pool.stats())["cmd-put"] == before + 3, "each server was asked once"
        with pytest.raises(Draining):
            await soon(pool.put_many([b"x"] * 100))


async def test_a_server_that_is_full_is_left_out_for_a_while(servers: Servers) -> None:
    async def full(line: Line) -> None:
        while True:
            command = await line.command()
            refusal = command.startswith(b"put")
            line.send(b"OUT_OF_MEMORY\r\n" if refusal else b"USING default\r\n")

    async with Peer(full) as peer:
        urls = {"a": f"beanstalk://{peer.host}:{peer.port}", "b": servers["b"].url}
        async with Pool(urls, reconnect_delay=0.02) as pool:
            ids = [await soon(pool.put(b"x")) for _ in range(20)]
            ids += await soon(pool.put_many([b"x"] * 500))
            assert counts(ids) == {"b": 520}
            asked = sum(command.startswith(b"put") for command in peer.lines[0].commands)
            assert 1 <= asked < 10  # once a second
            servers["b"].kill()
            await until(lambda: "b" not in pool.usable)
            with pytest.raises(OutOfMemory) as caught:
                await soon(pool.put(b"x"))
            assert caught.value.server == "a"


async def test_what_waits_at_a_server_is_renewed_with_its_main_connection(
    servers: Servers,
) -> None:
    """A connection that waits may be dead and not know it."""

    async with pool_of(servers) as pool, client_of(servers["a"]) as client:
        waiting = pool.reserve()
        await until_awaited(lambda: _waits(client), "a connection that waits")
        before = (await client.stats())["total-connections"]
        main = pool.clients["a"].connection
        assert main is not None
        main.abort("the test cuts it")

        async def renewed() -> bool:
            stats = await client.stats()
            return stats["current-waiting"] == 1 and stats["total-connections"] == before + 2

        await until_awaited(renewed, "a new main connection, and a new one that waits")
        await client.put(b"x")
        assert (await soon(waiting)).server == "a"


async def _waits(client: Client) -> bool:
    return (await client.stats())["current-waiting"] == 1


async def test_a_put_that_was_not_sent_goes_to_the_next_server(servers: Servers) -> None:
    """Its connection is lost in the same turn of the loop, before anything was written."""
    async with pool_of(servers) as pool:
        for many in (False, True):
            await until(lambda: len(pool.usable) == 3)
            clients = pool.clients
            for client in clients.values():
                client.list_tube_used(lambda _: None)  # what follows leaves at the turn's end
            puts = [pool.put_many([b"x"] * 3)] if many else [pool.put(b"x") for _ in range(3)]
            connection = clients["a"].connection
            assert connection is not None
            connection.abort("the test cuts it")
            ids = await soon(asyncio.gather(*puts))
            assert "a" not in counts([id_ for each in ids for id_ in ([each], each)[many]])


async def test_a_server_that_refuses_to_let_a_reserve_wait_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reserving, "ARM_PAUSE", 0.02)
    refusals = 2

    async def refuse(line: Line) -> None:
        nonlocal refusals
        while True:
            command = await line.command()
            if command == b"reserve":
                refusals -= 1
                reply = b"INTERNAL_ERROR\r\n" if refusals >= 0 else b"RESERVED 7 1\r\nx\r\n"
            elif command.startswith(b"reserve"):
                reply = b"TIMED_OUT\r\n"
            else:
                reply = b"USING default\r\n"
            line.send(reply)

    async with (
        Peer(refuse) as peer,
        Pool({"a": f"beanstalk://{peer.host}:{peer.port}"}, reconnect_delay=0.02) as pool,
    ):
        assert (await soon(pool.reserve())).id == "a/7"


async def test_tubes_are_those_asked_for_while_a_server_was_away(servers: Servers) -> None:
    calls: list[int] = []
    async with pool_of(servers) as pool:
        pool.set_reconnect_callback(lambda: calls.append(1))
        servers["a"].kill()
        await until(lambda: "a" not in pool.usable)
        servers["b"].freeze()
        using, watching = pool.use("mine"), pool.watch("t")
        connection = pool.clients["b"].connection
        assert connection is not None
        connection.abort("the test cuts it")  # before it has answered
        assert await soon(using) == "mine"
        assert await soon(watching) == 2
        servers["b"].thaw()
        servers["a"].start()
        await until(lambda: len(pool.usable) == 3)
        assert len(calls) == 2, "two servers are back"
        for client in pool.clients.values():
            assert await client.list_tube_used() == "mine"
            assert await client.list_tubes_watched() == ["default", "t"]


async def test_all_servers_gone_and_back(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await pool.put(b"x")
        held = await pool.reserve()
        waiting = pool.reserve()
        for server in servers.values():
            server.kill()
        await until(pool.closed)
        for verb in (lambda: pool.put(b"x"), lambda: pool.put_many([b"x"]), pool.reserve):
            with pytest.raises(ConnectionLost, match="no server of the pool can be reached"):
                await verb()
        with pytest.raises(ReservationLost):
            await held.delete()
        again = pool.connect()
        for server in servers.values():
            server.start()
        await soon(again)
        put = await soon(pool.put(b"x"))
        assert (await soon(waiting)).id == put


async def test_jobs_go_on_when_all_servers_were_away(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for server in servers.values():
            server.kill()
        await until(pool.closed)
        jobs = pool.jobs()
        next_job = asyncio.ensure_future(jobs.__anext__())
        for server in servers.values():
            server.start()
        async with client_of(servers["b"]) as client:
            await client.put(b"x")
        assert (await soon(next_job)).server == "b"
        await jobs.aclose()  # type: ignore[attr-defined]


async def test_a_pool_needs_only_one_of_its_servers_to_begin(servers: Servers) -> None:
    servers["a"].kill()
    servers["c"].kill()
    async with pool_of(servers) as pool:
        assert pool.usable == ("b",)
        assert (await pool.put(b"x")).startswith("b/")
        servers["a"].start()
        await until(lambda: "a" in pool.usable)


async def test_servers_without_weight_take_nothing_and_say_so(servers: Servers) -> None:
    async with Pool({"a": servers["a"].url + "?weight=0"}) as pool:
        for put in (pool.put, lambda body: pool.put_many([body])):
            with pytest.raises(ConnectionLost, match="its weight is 0"):
                await put(b"x")
        assert (await pool.put(b"x", key="k")).startswith("a/")


async def test_no_server_at_all_is_said_with_each_reason(servers: Servers) -> None:
    for server in servers.values():
        server.kill()
    pool = pool_of(servers, connect_timeout=0.1)
    with pytest.raises(ConnectionLost) as caught:
        await soon(pool.connect())
    for name, url in urls_of(servers).items():
        assert f"{name}, {url}: " in str(caught.value)
    with pytest.raises(ConnectionLost):
        async with pool:
            pass


async def test_0_seconds_are_one_attempt_at_each_server(servers: Servers) -> None:
    async with pool_of(servers, connect_timeout=0) as pool:
        await pool.put(b"x")
    for server in servers.values():
        server.kill()
    with pytest.raises(ConnectionLost, match=r"within 0 s: .*Connection refused"):
        await soon(pool_of(servers, connect_timeout=0, reconnect_delay=1000).connect())


async def test_a_connect_that_is_cancelled_leaves_nothing_behind(servers: Servers) -> None:
    servers["a"].freeze()
    pool = Pool({"a": servers["a"].url})
    connecting = asyncio.ensure_future(asyncio.wait_for(pool.connect(), 0.1))
    with pytest.raises(asyncio.TimeoutError):
        await connecting
    await pool.close()
    servers["a"].thaw()


async def test_a_timed_reserve_ends_also_while_all_servers_are_away(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        waiting = pool.reserve(1)
        for server in servers.values():
            server.kill()
        with pytest.raises(TimedOut) as caught:
            await soon(waiting)
        assert caught.value.status is None


async def test_cancelling_while_servers_are_lost_loses_nothing(servers: Servers) -> None:
    """Cancel, loss and arrival in every order: afterwards each job can be had once."""
    async with pool_of(servers) as pool:
        puts: list[str] = []
        for turn in range(12):
            reserves = [pool.reserve() for _ in range(6)]
            puts += [await pool.put(f"{turn}") for _ in range(3)]
            name = "abc"[turn % 3]
            connection = pool.clients[name].connection
            for reserve in reserves[::2]:
                reserve.cancel()
            if connection is not None and turn % 2:
                connection.abort("the test cuts it")
            for reserve in reserves[1::2]:
                reserve.cancel()
            del reserves, reserve
            await until(lambda name=name: name in pool.usable)  # type: ignore[misc]
        found = []
        async for job in pool.jobs(2):
            found.append(job.id)
            await job.delete()
        assert sorted(found) == sorted(puts)


def test_a_client_of_a_pool_can_be_asked(servers: Servers) -> None:
    pool = pool_of(servers)
    assert all(isinstance(client, Client) for client in pool.clients.values())
    assert repr(pool).startswith("<Pool a=beanstalk://")
