"""An import that was killed at any point is resumed: no job is lost, and none is there twice."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from beanstalkt.admin import import_jobs, importer, resuming

from ..support import killing
from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.population import Kind, empty, kind, population, same
from ..support.soak import FACTOR
from ..support.waiting import until_awaited

POINTS = 30 * FACTOR

KINDS = [
    kind(
        b"%d" % (number % 20),  # so some bodies are there twice
        ("ready", "buried", "delayed")[number % 3],
        "ab"[number % 2],
        number,
    )
    for number in range(36)
]
LINES = [
    json.dumps(
        {
            "tube": each.tube,
            "state": each.state,
            "priority": each.priority,
            "delay": each.delay,
            "ttr": each.ttr,
            "body": each.body.decode(),
        }
    )
    for each in KINDS
]


@pytest.mark.soak
def test_killed_anywhere_and_resumed_it_puts_each_job_once(
    beanstalkd: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "BATCH", 5)
    monkeypatch.setattr(resuming, "SETTLING", 0)
    journal = tmp_path / "journal"

    async def run() -> None:
        async with client_of(beanstalkd) as client:
            summary = await import_jobs(client, LINES, resume=journal)
            assert summary.ok

    async def check() -> list[Kind]:
        async with client_of(beanstalkd) as client:
            found = await population(client)
            await empty(client)
            return found

    async def server_has_read_all() -> None:
        """Wait until no connection of a killed process is left at the server."""
        async with client_of(beanstalkd) as client:

            async def alone() -> bool:
                return (await client.stats())["current-connections"] == 1

            await until_awaited(alone, "the killed process is gone at the server")

    lines = killing.run(run)
    assert lines is not None
    same(sorted(asyncio.run(check())), sorted(KINDS), ordered=False)
    chosen = random.Random()
    for _ in range(POINTS):
        journal.unlink(missing_ok=True)
        # Killed, and killed once more while it is resumed.
        points = [chosen.randrange(1, lines), chosen.randrange(1, lines)]
        killing.run(run, points[0])
        asyncio.run(server_has_read_all())
        killing.run(run, points[1])
        asyncio.run(server_has_read_all())
        killing.run(run)
        found = asyncio.run(check())
        try:
            same(found, KINDS, ordered=False)
        except AssertionError as error:
            raise AssertionError(f"killed at the lines {points}") from error
