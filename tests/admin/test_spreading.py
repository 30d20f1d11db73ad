"""Importing into several servers: where lines go, also when a server is lost."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import Client, errors
from beanstalkt.admin import Summary, export_jobs, import_jobs, importer, select

from ..support.clients import client_of
from ..support.population import kind, populate, population, same
from ..support.several import Servers, several


@pytest.fixture
def servers(patient: None) -> Iterator[Servers]:
    with several(3) as found:
        yield found


@asynccontextmanager
async def clients_of(servers: Servers) -> AsyncIterator[Mapping[str, Client]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(client_of(server, response_timeout=1))
            for name, server in servers.items()
        }


def line(number: int, server: str | None = None, **others: Any) -> str:
    named = {} if server is None else {"server": server}
    return json.dumps({"tube": "t", "body": str(number), **named, **others})


async def bodies(client: Client) -> list[int]:
    return [int(each.body) for each in await population(client, "t")]


def done(summary: Summary) -> dict[str, int]:
    return {name: own.done for name, own in summary.servers.items()}


async def test_an_export_of_several_servers_goes_back_where_it_came_from(
    servers: Servers,
) -> None:
    kinds = [kind(b"1"), kind(b"2", "delayed"), kind(b"\xff", "buried")]
    async with clients_of(servers) as clients:
        for name, client in clients.items():
            await populate(client, [kind(name.encode()), *kinds])
        lines = [each async for each in export_jobs(clients, select())]
        for server in servers.values():
            server.restart()
    async with clients_of(servers) as clients:
        summary = await import_jobs(clients, lines)
        assert (summary.done, done(summary)) == (12, dict.fromkeys("abc", 4))
        for name, client in clients.items():
            same(await population(client), [kind(name.encode()), *kinds])


async def test_lines_without_a_server_are_spread_in_turn(servers: Servers) -> None:
    async with clients_of(servers) as clients:
        lines = [line(n, "elsewhere" if n % 2 else None) for n in range(1, 10)]
        summary = await import_jobs(clients, lines)
        assert done(summary) == dict.fromkeys("abc", 3)
        assert await bodies(clients["b"]) == [2, 5, 8]
        summary = await import_jobs(
            clients, [line(0, "a")] * 4, spread=True, turns=["a", "b", "b"]
        )
        assert done(summary) == {"a": 2, "b": 2, "c": 0}
        for wrong in ([], ["d"]):
            with pytest.raises(errors.InvalidArgument):
                await import_jobs(clients, lines, turns=wrong)


async def test_a_server_that_drains_is_left_out_of_the_turns(servers: Servers) -> None:
    servers["a"].signal(signal.SIGUSR1)
    async with clients_of(servers) as clients:
        while not (await clients["a"].stats())["draining"]:
            await asyncio.sleep(0.01)
        summary = await import_jobs(clients, [line(n) for n in range(6)])
        assert done(summary) == {"a": 0, "b": 3, "c": 3}
        summary = await import_jobs(clients, [line(1, "a"), line(2)], on_error="skip")
        assert (summary.done, summary.failed) == (1, 1)
        for name in "bc":
            servers[name].signal(signal.SIGUSR1)
        assert (await import_jobs(clients, [line(3)], dry_run=True)).done == 1


async def test_a_line_of_a_lost_server_is_refused(servers: Servers) -> None:
    servers["b"].kill()
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(client_of(servers[name])) for name in "ac"
        }
        lost = client_of(servers["b"])
        clients["b"] = lost
        lines = [line(1, "a"), line(2, "b"), line(3), line(4, "c")]
        summary = Summary()
        with pytest.raises(errors.ConnectionLost, match=r"^b: "):
            await import_jobs(clients, lines, on_error="skip", summary=summary)
        assert (summary.done, summary.failures) == (3, [(2, "its server, b, is not available")])
        with pytest.raises(errors.ConnectionLost):
            await import_jobs(clients, lines, summary=(stopped := Summary()))
        assert (stopped.done, stopped.failed) == (1, 1)
        assert "no line after line 2 was put" in stopped.notes
        with pytest.raises(errors.ConnectionLost):
            await import_jobs(clients, lines, spread=True, summary=(spread := Summary()))
        assert (spread.done, spread.failed) == (4, 0)
        await lost.close()


async def test_a_wrong_line_is_named_by_its_number(servers: Servers) -> None:
    async with clients_of(servers) as clients:
        lines = [line(1), "nonsense", line(3, 7), "", line(5)]  # type: ignore[arg-type]
        summary = await import_jobs(clients, lines, on_error="skip")
        assert (summary.done, summary.failed) == (2, 2)
        assert sorted(number for number, _ in summary.failures) == [2, 3]
        summary = await import_jobs(clients, lines, dry_run=True)
        assert (summary.done, summary.failed) == (1, 1)
        assert [len(await bodies(client)) for client in clients.values()] == [1, 1, 0]


@pytest.mark.parametrize("on_error", ["stop", "skip"])
async def test_each_line_is_accounted_for_when_a_server_is_killed_in_the_middle(
    servers: Servers, tmp_path: Path, on_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "BATCH", 16)
    count = 3000
    journal = tmp_path / "journal"

    def lines() -> Iterator[str]:
        for number in range(count):
            if number == 1000 and servers["b"].process is not None and not resumed:
                servers["b"].kill()
            yield line(number)

    resumed = False
    summary = Summary()
    async with clients_of(servers) as clients:
        with pytest.raises(errors.ConnectionLost, match=r"^b: "):
            await import_jobs(clients, lines(), on_error=on_error, resume=journal, summary=summary)
        kept = [await bodies(clients[name]) for name in "ac"]
        assert sum(map(len, kept)) == done(summary)["a"] + done(summary)["c"]
        if on_error == "skip":
            assert summary.done + summary.failed + summary.unknown == count
        else:
            assert summary.done < 1100
    # Given again, it puts what is missing, and nothing twice; what b had is gone with it.
    resumed = True
    on_b = done(summary)["b"]
    servers["b"].start()
    (tmp_path / "journal.b").unlink()
    async with clients_of(servers) as clients:
        again = await import_jobs(clients, lines(), resume=journal)
        found = [number for client in clients.values() for number in await bodies(client)]
        assert len(found) == len(set(found))
        assert set(range(count)) == set(found)
        assert again.done == count - sum(map(len, kept))
        assert on_b > 0


async def test_a_resumed_import_keeps_to_its_servers(servers: Servers, tmp_path: Path) -> None:
    journal = tmp_path / "j"
    lines = [line(number) for number in range(100)]
    async with clients_of(servers) as clients:
        some = {name: clients[name] for name in "ab"}
        assert (await import_jobs(some, lines[:60], resume=journal)).done == 60
        # A server more, and another order: nothing is put twice.
        order = {name: clients[name] for name in "cba"}
        summary = await import_jobs(order, lines, resume=journal)
        assert (summary.done, summary.skipped["imported before"]) == (40, 60)
        found = [number for client in clients.values() for number in await bodies(client)]
        assert sorted(found) == list(range(100))
        with pytest.raises(errors.InvalidArgument, match=r"j\.c tells of .* not named"):
            await import_jobs(some, lines, resume=journal)
        await import_jobs(clients["a"], [], resume=journal)
        with pytest.raises(errors.InvalidArgument, match="j tells of an import into one server"):
            await import_jobs(clients, lines, resume=journal)
