"""Burying many jobs: as asked, with their priority, and none that a worker holds."""

from __future__ import annotations

import pytest

from beanstalkt.admin import bury, select
from beanstalkt.errors import InvalidArgument
from tests.support.clients import client_of
from tests.support.embedded import AnyServer


async def test_ready_and_delayed_jobs_are_buried_with_their_priority(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as worker:
        for number, delay in enumerate((0, 1000, 0, 0), 1):
            await client.put(b"x", number, delay, tube="mail")
        await client.put(b"x", tube="other")
        await worker.reserve_job(3)
        assert (await bury(client, select("mail"), dry_run=True)).done == 3
        summary = await bury(client, select("mail"))
        assert (summary.done, summary.action, summary.states) == (
            3,
            "buried",
            {"ready": 2, "delayed": 1},
        )
        stats = [await client.stats_job(number) for number in range(1, 6)]
        states = [each["state"] for each in stats]
        assert states == ["buried", "buried", "reserved", "buried", "ready"]
        assert [each["pri"] for each in stats[:4]] == [1, 2, 3, 4]
        assert (await bury(client, select("mail"))).done == 0


async def test_only_what_the_filter_names(server: AnyServer) -> None:
    async with client_of(server) as client:
        for body in (b"good", b"bad", b"good"):
            await client.put(body, tube="mail")
        assert (await bury(client, select("mail", text="good"), limit=1)).done == 1
        assert (await bury(client, select("mail", text="good"))).done == 1
        assert (await client.stats_job(2))["state"] == "ready"
        with pytest.raises(InvalidArgument, match="cannot be buried"):
            await bury(client, select("mail", "reserved"))
