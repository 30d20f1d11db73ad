"""Operations on the jobs of several servers: one call, sums, and what becomes of lost servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from inspect import signature
from typing import Any

import pytest

from beanstalkt import Client, Pool, admin, errors
from beanstalkt.admin import Summary, select
from beanstalkt.admin.several import SharedProgress

from ..support.clients import client_of
from ..support.population import kind, populate, population
from ..support.several import Servers, counts, several, urls_of
from ..support.waiting import until

Clients = Mapping[str, Client]

KINDS = [kind(b"1"), kind(b"2", "delayed"), kind(b"3", "buried"), kind(b"4", tube="b")]


@pytest.fixture
def servers(patient: None) -> Iterator[Servers]:
    with several(3) as found:
        yield found


@asynccontextmanager
async def filled(servers: Servers) -> AsyncIterator[Clients]:
    """Give a client of each server, in which there are jobs of each kind."""
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(client_of(server, response_timeout=1))
            for name, server in servers.items()
        }
        for client in found.values():
            await populate(client, KINDS)
        yield found


async def states(client: Client, tube: str = "a") -> list[str]:
    return [each.state for each in await population(client, tube)]


def done(summary: Summary) -> dict[str, int]:
    return {name: own.done for name, own in summary.servers.items()}


# --- what is done, and the sums -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "count", "left"),
    [
        (partial(admin.clear, selection=select("a")), 3, []),
        (partial(admin.delete, selection=select("a", "buried")), 1, ["ready", "delayed"]),
        (partial(admin.kick, selection=select("a")), 2, ["ready"] * 3),
        (partial(admin.bury, selection=select("a")), 2, ["buried"] * 3),
        (partial(admin.move, selection=select("a"), tube="c"), 3, []),
        (partial(admin.copy, selection=select("a"), tube="c"), 3, ["ready", "delayed", "buried"]),
    ],
)
async def test_each_server_is_done_and_the_summary_adds_up(
    servers: Servers, operation: Any, count: int, left: list[str]
) -> None:
    async with filled(servers) as clients:
        planned = await operation(clients, dry_run=True)
        assert (planned.done, planned.dry_run) == (3 * count, True)
        told: list[admin.Progress] = []
        summary = await operation(clients, progress=told.append)
        assert done(summary) == dict.fromkeys("abc", count)
        assert summary.done == 3 * count == sum(summary.states.values()) == summary.tubes["a"]
        assert (summary.ok, summary.action) == (True, summary.servers["a"].action)
        assert all(each.done >= 0 and each.jobs <= 3 * count for each in told)
        for client in clients.values():
            assert await states(client) == left
            assert await states(client, "b") == ["ready"]


async def test_the_clients_of_a_pool_will_do(servers: Servers) -> None:
    async with Pool(urls_of(servers)) as pool:
        ids = await pool.put_many([b"x"] * 300, tube="a")
        summary = await admin.clear(pool.clients, select("a"))
        assert summary.done == 300
        assert done(summary) == {**dict.fromkeys("abc", 0), **counts(ids)}


async def test_a_limit_is_that_of_all_servers(servers: Servers) -> None:
    async with filled(servers) as clients:
        summary = await admin.clear(clients, select("a"), limit=4)
        assert (summary.done, summary.limited) == (4, True)
        assert done(summary) == {"a": 3, "b": 1, "c": 0}
        assert len(await states(clients["c"])) == 3
        assert (await admin.clear(clients, select("a"), limit=0)).done == 0
        with pytest.raises(errors.InvalidArgument):
            await admin.clear(clients, select("a"), limit=-1)


async def test_kick_all_decides_once_for_all_servers(servers: Servers) -> None:
    async with filled(servers) as clients:
        await admin.delete(clients["a"], select("a", "buried"))
        summary = await admin.kick_all(clients, "a")
        assert done(summary) == {"a": 0, "b": 1, "c": 1}
        assert await states(clients["a"]) == ["ready", "delayed"]
        assert (await admin.kick_all(clients, "a")).states == {"delayed": 3}


async def test_wrong_arguments_are_refused_and_change_nothing(servers: Servers) -> None:
    async with filled(servers) as clients:
        for wrong in (
            admin.clear(clients, select()),
            admin.clear({}, select("a")),
            admin.delete(clients, select("a", "reserved")),
            admin.move(clients, select("a")),
            admin.move(clients, select("a"), tube="a"),
            admin.move(clients, select(), to=clients["a"], tube="c"),
            admin.move({"a": clients["a"]}, select("a"), to=clients["a"]),
        ):
            with pytest.raises(errors.InvalidArgument):
                await wrong
        for client in clients.values():
            assert len(await population(client)) == 4


def test_the_signature_tells_what_is_taken() -> None:
    first = next(iter(signature(admin.clear).parameters.values()))
    assert (first.name, first.annotation) == ("client", "Client | Mapping[str, Client]")


# --- list, export, tail -------------------------------------------------------------------------


async def test_records_are_named_and_come_server_by_server(servers: Servers) -> None:
    async with filled(servers) as clients:
        scan = admin.list_jobs(clients, select("a"))
        records = [record async for record in scan]
        assert [record.name for record in records] == [
            f"{name}/{number}" for name in "abc" for number in (1, 2, 3)
        ]
        assert records[0].as_dict()["id"] == "a/1"
        assert "server" not in records[0].as_dict()
        assert scan.matched == 9
        limited = admin.list_jobs(clients, select("a"), limit=4)
        assert [record.name async for record in limited] == ["a/1", "a/2", "a/3", "b/1"]


async def test_an_export_names_the_server_of_each_job(servers: Servers) -> None:
    async with filled(servers) as clients:
        summary = Summary()
        lines = [line async for line in admin.export_jobs(clients, select("b"), summary=summary)]
        assert [line[:23] for line in lines] == [
            b'{"id": 4, "server": "%s"' % name for name in (b"a", b"b", b"c")
        ]
        assert (summary.done, done(summary)) == (3, dict.fromkeys("abc", 1))
        assert summary.servers["b"].range is not None


async def test_a_tail_follows_all_servers_that_are_not_lost(servers: Servers) -> None:
    async with filled(servers) as clients:
        tail = admin.tail(clients, select("t"), interval=0.01)
        assert isinstance(tail, admin.Tails)
        lost: list[str] = []
        tail.on_lost = lambda name, error: lost.append(name)
        following = asyncio.ensure_future(_take(tail, 3))
        names = {await _put_until_seen(tail, client) for client in clients.values()}
        assert names == set("abc")
        servers["b"].kill()
        await until(lambda: lost == ["b"], "the loss of b")
        await clients["c"].put("x", tube="t")
        assert "c/" in {
            record.name[:2] for record in await following if isinstance(record.name, str)
        }
        await tail.aclose()
        assert set(tail.lost) == {"b"}


async def _put_until_seen(tail: admin.Tails, client: Client) -> str:
    """Put jobs until the tail of this server has counted one; return its name."""
    name = next(name for name, each in tail.tails.items() if each._client is client)
    before = tail.tails[name].put
    while tail.tails[name].put == before:
        await client.put("x", tube="t")
        await asyncio.sleep(0.01)
    return name


async def _take(tail: admin.Tails, least: int) -> list[admin.JobRecord]:
    """Take records until some were seen of c after b was lost."""
    found: list[admin.JobRecord] = []
    async for record in tail:
        found.append(record)
        if len(found) >= least and "b" in tail.lost and record.server == "c":
            break
    return found


async def test_a_tail_ends_when_all_servers_are_lost(servers: Servers) -> None:
    async with filled(servers) as clients:
        tail = admin.tail(clients, select("t"), interval=0.01)
        following = asyncio.ensure_future(tail.__anext__())
        for server in servers.values():
            server.kill()
        with pytest.raises(errors.ConnectionLost, match=r"a.*b.*c"):
            await asyncio.wait_for(following, 30)


# --- lost servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["kill", "freeze"])
async def test_a_lost_server_keeps_no_other_from_being_done(servers: Servers, ending: str) -> None:
    async with filled(servers) as clients:
        getattr(servers["b"], ending)()
        summary = Summary()
        with pytest.raises(errors.ConnectionLost, match=r"^b: ") as caught:
            await admin.clear(clients, select("a"), summary=summary)
        assert caught.value.server == "b"
        assert (summary.done, done(summary)) == (6, {"a": 3, "b": 0, "c": 3})
        found: list[int | str] = []

        async def look() -> None:
            async for record in admin.list_jobs(clients, select("b")):
                found.append(record.name)

        with pytest.raises(errors.ConnectionLost, match=r"^b: "):
            await look()
        assert found == ["a/4", "c/4"]
        summary = Summary()
        with pytest.raises(errors.ConnectionLost):
            _ = [each async for each in admin.export_jobs(clients, select("b"), summary=summary)]
        assert summary.done == 2


async def test_all_lost_servers_are_named_in_one_error(servers: Servers) -> None:
    async with filled(servers) as clients:
        for name in "ac":
            servers[name].kill()
        summary = Summary()
        with pytest.raises(errors.ConnectionLost) as caught:
            await admin.kick(clients, select("a"), limit=10, summary=summary)
        assert "a: " in str(caught.value)
        assert "; c: " in str(caught.value)
        assert (caught.value.server, done(summary)) == (None, {"a": 0, "b": 2, "c": 0})


async def test_a_server_that_is_killed_in_the_middle(servers: Servers) -> None:
    async with filled(servers) as clients:
        for client in clients.values():
            await client.put_many([b"x"] * 20_000, tube="a")
        summary = Summary()

        def kill_once(told: admin.Progress) -> None:
            own = summary.servers["b"]
            if servers["b"].process is not None and (own.done or told.jobs):
                servers["b"].kill()

        with pytest.raises(errors.ConnectionLost, match=r"^b: "):
            await admin.clear(clients, select("a"), summary=summary, progress=kill_once)
        assert done(summary)["a"] == done(summary)["c"] == 20_003
        assert summary.done == sum(done(summary).values())
        assert done(summary)["b"] < 20_003
        assert summary.unknown == summary.servers["b"].unknown


async def test_cancelled_it_ends_between_two_jobs_on_each_server(servers: Servers) -> None:
    async with filled(servers) as clients:
        for client in clients.values():
            await client.put_many([b"x"] * 10_000, tube="a")
        before = {name: len(await states(client)) for name, client in clients.items()}
        summary = Summary()
        started = asyncio.Event()
        task = asyncio.ensure_future(
            admin.delete(
                clients,
                select("a", "ready"),
                summary=summary,
                progress=lambda told: started.set(),
            )
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert summary.interrupted
        assert not summary.unknown
        for name, client in clients.items():
            stats: Any = await client.stats_tube("a")
            assert stats["current-jobs-reserved"] == 0
            assert len(await states(client)) == before[name] - done(summary)[name]
        assert summary.done == sum(done(summary).values()) < 30_000


# --- move and copy ------------------------------------------------------------------------------


async def test_several_servers_are_emptied_into_one_of_them(servers: Servers) -> None:
    async with filled(servers) as clients:
        async with client_of(servers["c"]) as target:
            summary = await admin.move(clients, select("a"), to=target)
        assert done(summary) == {"a": 3, "b": 3, "c": 0}
        assert "its own jobs stay" in summary.servers["c"].notes[0]
        assert await states(clients["a"]) == await states(clients["b"]) == []
        assert (
            sorted(await states(clients["c"])) == ["buried"] * 3 + ["delayed"] * 3 + ["ready"] * 3
        )


async def test_a_refusal_stops_the_move_on_all_servers(servers: Servers) -> None:
    async with filled(servers) as clients:
        with several(1, "-z", "10") as found:
            await clients["a"].put("x" * 20, tube="big")
            await clients["b"].put("y", tube="big")
            async with client_of(found["a"]) as target:
                summary = await admin.move(clients, select("big"), to=target)
                assert (summary.done, summary.failed) == (0, 1)
                assert summary.failures[0][0] == "a/5"
                assert "not begun" in summary.servers["b"].notes[0]
                summary = await admin.move(clients, select("big"), to=target, on_error="skip")
                assert (summary.done, summary.failed) == (1, 1)


async def test_a_lost_target_loses_no_job(servers: Servers) -> None:
    async with filled(servers) as clients:
        with several(1) as found:
            async with client_of(found["a"]) as target:
                found["a"].kill()
                with pytest.raises(errors.ConnectionLost):
                    await admin.move(clients, select("a"), to=target)
        for client in clients.values():
            assert await states(client) == ["ready", "delayed", "buried"]


@pytest.mark.parametrize(
    ("in_turn", "expected"),
    [(False, ("ids", 5, 40, 3)), (True, ("b: ids", 3, 20, 3))],
)
def test_progress_is_of_all_at_once_or_of_one_in_turn(in_turn: bool, expected: object) -> None:
    told: list[admin.Progress] = []
    shared = SharedProgress(told.append, 3, in_turn=in_turn)
    a, b = shared.of("a"), shared.of("b")
    assert a is not None
    assert b is not None
    a(admin.Progress("ids", 2, 20, 1.0, jobs=1))
    shared.end("c")  # it was lost before it told anything
    b(admin.Progress("ids", 3, 20, 1.0, jobs=2))
    last = told[-1]
    assert (last.what, last.done, last.total, last.jobs) == expected
    # Of a server that has not begun it is not known how much there is to do.
    assert told[0].total == (20 if in_turn else None)
    assert SharedProgress(None, 1, in_turn=True).of("a") is None
