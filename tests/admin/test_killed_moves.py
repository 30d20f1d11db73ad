"""A move that is killed at any point loses no job, whatever workers take meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from beanstalkt import blocking
from beanstalkt.admin import move, moving, select
from beanstalkt.admin.target import HIDDEN

from ..support import killing
from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.population import Kind, empty, kind, populate, population
from ..support.soak import FACTOR
from ..support.waiting import until_awaited

POINTS = 100 * FACTOR
UNDER_WAY = moving.AT_ONCE * 2  # jobs

QUIET = [
    kind(b"q%d" % number, ("buried", "ready", "delayed")[number % 3], "quiet", number, ttr=99)
    for number in range(15)
]
BUSY = [kind(b"b%d" % number, tube="busy", priority=number % 4) for number in range(20)]


@pytest.fixture
def other() -> Iterator[Beanstalkd]:
    server = Beanstalkd()
    server.start()
    yield server
    server.stop()


class Worker:
    """A process that deletes the jobs of the tube busy, and writes down their bodies."""

    def __init__(self, server: Beanstalkd, log: Path) -> None:
        self.pid = os.fork()
        if not self.pid:
            try:
                self._work(server, log)
            finally:
                os._exit(1)

    def _work(self, server: Beanstalkd, log: Path) -> None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        client = blocking.Client(server.host, server.port)
        client.watch("busy")
        for job in client.jobs():
            os.write(file, job.body + b"\n")
            job.delete()

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


async def settled(server: Beanstalkd) -> None:
    """Wait until only the worker is connected, and has nothing left to do."""
    async with client_of(server) as client:

        async def idle() -> bool:
            stats = await client.stats()
            if stats["current-connections"] > 2 or stats["current-jobs-reserved"]:
                return False
            return "busy" not in {each.tube for each in await population(client)}

        await until_awaited(idle, "the worker is alone and idle")


@pytest.mark.soak
def test_killed_at_any_line_it_loses_no_job(
    beanstalkd: Beanstalkd, other: Beanstalkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BATCH", 2)
    log = tmp_path / "log"

    async def run() -> None:
        async with client_of(beanstalkd) as source, client_of(other) as target:
            summary = await move(source, select(["quiet", "busy"]), to=target)
            assert summary.ok, summary

    async def fill() -> None:
        async with client_of(beanstalkd) as source:
            mixed = sorted([*QUIET, *BUSY], key=lambda each: int(each.body[1:]))
            await populate(source, mixed)

    async def both(clear: bool = False) -> tuple[list[Kind], list[Kind]]:
        async with client_of(beanstalkd) as source, client_of(other) as target:
            found = await population(source, "quiet"), await population(target, "quiet")
            if clear:
                await empty(source)
                await empty(target)
            return found

    workers = [Worker(each, log) for each in (beanstalkd, other)]
    try:
        asyncio.run(fill())
        lines = killing.run(run)
        assert lines is not None
        asyncio.run(both(clear=True))
        for server in (beanstalkd, other):
            asyncio.run(settled(server))
        chosen = random.Random()
        for _ in range(POINTS):
            log.write_bytes(b"")
            asyncio.run(fill())
            at = chosen.randrange(1, lines)
            killing.run(run, at)
            for server in (beanstalkd, other):
                asyncio.run(settled(server))
            try:
                check_quiet(*asyncio.run(both()))
                asyncio.run(run())
                for server in (beanstalkd, other):
                    asyncio.run(settled(server))
                check_end(*asyncio.run(both(clear=True)))
                check_busy(log)
            except AssertionError as error:
                raise AssertionError(f"killed at the line {at} of {lines}") from error
    finally:
        for worker in workers:
            worker.stop()


def check_quiet(source: list[Kind], target: list[Kind]) -> None:
    """Every job is somewhere, in its own state unless it was under way."""
    wanted = {each.body: each for each in QUIET}
    here, there = Counter(each.body for each in source), Counter(each.body for each in target)
    assert set(here) | set(there) == set(wanted)
    assert (here + there).total() - len(wanted) <= UNDER_WAY
    for each in source:
        alike(each, wanted[each.body])
    for each in target:
        about_to_be_buried = wanted[each.body].state == "buried" and each.state != "buried"
        if about_to_be_buried:
            assert here[each.body] == 1  # the job itself is still where it was
            assert each.state == "ready" or each.delay > HIDDEN - 60
        else:
            alike(each, wanted[each.body])


def alike(found: Kind, wanted: Kind) -> None:
    assert found._replace(delay=0) == wanted._replace(delay=0)
    assert wanted.delay - 60 <= found.delay <= wanted.delay


def check_end(source: list[Kind], target: list[Kind]) -> None:
    assert source == []
    there = Counter(each.body for each in target)
    assert set(there) == {each.body for each in QUIET}
    assert there.total() - len(QUIET) <= UNDER_WAY


def check_busy(log: Path) -> None:
    """Every job was done, and none twice but for those under way."""
    done = Counter(log.read_bytes().split())
    assert set(done) == {each.body for each in BUSY}
    assert done.total() - len(BUSY) <= UNDER_WAY
