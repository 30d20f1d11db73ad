"""Which tubes have appeared, and which are no longer used; without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from beanstalkt.errors import InternalError
from beanstalkt.worker import tube_scan as module
from beanstalkt.worker.events import TubeScanFailed
from beanstalkt.worker.timing import WorkerTiming
from beanstalkt.worker.tube_scan import TubeScan

from ..support.running import until
from ..support.scripted import SERVER, Context, ScriptedClient

OURS = 2
"""Connections of this runner that watch the tube."""

UNUSED = {
    "current-watching": OURS,
    "current-using": 0,
    "current-jobs-ready": 0,
    "current-jobs-reserved": 0,
    "current-jobs-delayed": 0,
    "current-jobs-buried": 0,
}


class Scanning:
    """A scan at short intervals, and what it has found each time."""

    def __init__(self, client: ScriptedClient, watched: dict[str, int]) -> None:
        self.context = Context(WorkerTiming(tube_scan_interval=0.01))
        self.found: list[tuple[list[str], set[str]]] = []
        self.scan = TubeScan(
            SERVER,
            lambda: watched,
            lambda names, unused: self.found.append((names, unused)),
            self.context.publish,
            self.context.timing,
        )
        self.client = client

    async def __aenter__(self) -> Scanning:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.scan.close()
        assert self.client.closed == 1

    async def scans(self, count: int) -> None:
        await until(lambda: len(self.found) >= count, f"{count} scans")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    made = ScriptedClient()
    made.defaults["list_tubes"] = lambda: ["default", "mail"]

    class Clients:
        @staticmethod
        def from_url(url: str, **_: Any) -> ScriptedClient:
            assert url == SERVER
            return made

    monkeypatch.setattr(module, "Client", Clients)
    return made


async def test_a_tube_is_unused_when_it_was_at_two_scans(client: ScriptedClient) -> None:
    client.script("stats_tube", UNUSED, {**UNUSED, "current-using": 1}, UNUSED, UNUSED)
    client.defaults["stats_tube"] = lambda: {**UNUSED, "current-jobs-ready": 1}
    async with Scanning(client, {"mail": OURS}) as scanning:
        await scanning.scans(5)
    names = [tubes for tubes, _ in scanning.found]
    assert names[0] == ["default", "mail"]
    assert [unused for _, unused in scanning.found[:5]] == [
        set(),
        set(),
        set(),
        {"mail"},
        set(),
    ]


@pytest.mark.parametrize("key", [key for key in UNUSED if key != "current-watching"])
async def test_a_tube_that_somebody_uses_stays(client: ScriptedClient, key: str) -> None:
    client.defaults["stats_tube"] = lambda: {**UNUSED, key: 1}
    async with Scanning(client, {"mail": OURS}) as scanning:
        await scanning.scans(3)
    assert not any(unused for _, unused in scanning.found)


async def test_a_tube_that_somebody_else_watches_stays(client: ScriptedClient) -> None:
    client.defaults["stats_tube"] = lambda: {**UNUSED, "current-watching": OURS + 1}
    async with Scanning(client, {"mail": OURS}) as scanning:
        await scanning.scans(3)
    assert not any(unused for _, unused in scanning.found)


async def test_a_scan_that_fails_is_reported_and_not_the_last_one(
    client: ScriptedClient,
) -> None:
    errors = [InternalError("no"), ZeroDivisionError()]
    client.script("list_tubes", *errors)
    async with Scanning(client, {}) as scanning:
        await scanning.scans(1)
        assert scanning.context.events == [TubeScanFailed(SERVER, each) for each in errors]


async def test_it_ends_in_the_middle_of_a_scan(client: ScriptedClient) -> None:
    client.script("list_tubes", asyncio.get_running_loop().create_future())
    async with Scanning(client, {}):
        await until(lambda: "list_tubes" in client.verbs())
