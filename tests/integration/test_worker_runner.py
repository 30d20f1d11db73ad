"""The runner as a whole: tubes that come and go, configurations that change, idle slots."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from beanstalkt import Client
from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.config.settings import Settings

from ..support.beanstalkd import Beanstalkd
from ..support.running import Running, settings, until

# --- all tubes -------------------------------------------------------------------------------


async def test_all_tubes_those_that_appear_later_too(beanstalkd: Beanstalkd) -> None:
    chosen = settings(
        beanstalkd, options={"command": "cat"}, all_tubes=True, exclude=["tmp.*", "default"]
    )
    async with Client.from_url(beanstalkd.url) as client:
        await client.put(b"", tube="early")
        await client.put(b"", tube="tmp.x")
        async with Running(chosen) as running:
            await running.job(tube="early")
            await client.put(b"", tube="late")
            await running.job(tube="late")
            # Tubes that only the runner still knows are let go.
            tubes = ["default", "tmp.x"]
            while sorted(await client.list_tubes()) != tubes:
                await asyncio.sleep(0.02)
            await client.put(b"", tube="late")
            await running.job(2, tube="late")
            assert not running.events.find("tube", tube="tmp.x")


async def test_a_burst_over_all_tubes(beanstalkd: Beanstalkd) -> None:
    chosen = settings(beanstalkd, options={"command": "cat"}, all_tubes=True)
    async with Client.from_url(beanstalkd.url) as client:
        for tube in ("a", "b", "c"):
            await client.put(b"", tube=tube)
        async with Running(chosen, burst=True) as running:
            await running.end()
            assert len(running.events.find("job", outcome="success")) == 3


async def test_a_burst_over_no_tube_at_all(beanstalkd: Beanstalkd) -> None:
    chosen = settings(beanstalkd, options={"command": "cat"}, all_tubes=True, exclude=["*"])
    async with Running(chosen, burst=True) as running:
        await running.end()


# --- reading the configuration again ---------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "work.ini"


def reread(file: Path, server: Beanstalkd) -> Callable[[], Settings]:
    return lambda: load(Flags(config=str(file), server=server.url), {})


async def test_a_reload(beanstalkd: Beanstalkd, file: Path, tmp_path: Path) -> None:
    wait = f"sh -c 'echo >{tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.01; done'"
    file.write_text(f"[tube:a]\ncommand={wait}\n[tube:b]\ncommand=cat\n[tube:c]\ncommand=cat\n")
    again = reread(file, beanstalkd)
    async with (
        Client.from_url(beanstalkd.url) as client,
        Running(again(), reread=again) as running,
    ):
        await client.put(b"1", tube="a")
        await until((tmp_path / "started").exists)
        file.write_text("[tube:a]\ncommand=cat\n[tube:b]\ncommand=cat\n[tube:d]\ncommand=cat\n")
        running.runner.reload()
        await running.events.wait("reloaded", tubes=3)
        await client.put(b"2", tube="a")
        await client.put(b"3", tube="b")
        await running.job(tube="b")
        await client.put(b"4", tube="d")
        await running.job(tube="d")
        # One worker, one job: the new command waits until the old one is done.
        assert not running.events.find("job", tube="a")
        (tmp_path / "go").touch()
        assert (await running.job(1, tube="a"))["id"] == 1
        assert (await running.job(2, tube="a"))["id"] == 2
        # What has not changed was left alone; what is gone is no longer watched.
        assert len(running.events.find("tube", tube="b")) == 1
        assert "c" not in await client.list_tubes()


@pytest.mark.parametrize(
    "text",
    [
        "[tube:a]\ncommand=cat\nworkers=many\n",
        "[tube:a]\ncommand=/no/such/command\n",
        "nonsense",
        "",
        None,
    ],
    ids=["bad value", "no such command", "nonsense", "empty", "missing"],
)
async def test_a_broken_file_keeps_the_old_configuration(
    beanstalkd: Beanstalkd, file: Path, text: str | None
) -> None:
    file.write_text("[tube:a]\ncommand=cat\n")
    again = reread(file, beanstalkd)
    async with (
        Client.from_url(beanstalkd.url) as client,
        Running(again(), reread=again) as running,
    ):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        running.runner.reload()
        assert running.events.find("message")
        assert not running.events.find("reloaded")
        await client.put(b"", tube="a")
        await running.job(outcome="success")


async def test_a_reload_to_another_server(beanstalkd: Beanstalkd, file: Path) -> None:
    other = Beanstalkd()
    other.start()
    try:
        text = "[connection]\nserver={}\n[tube:a]\ncommand=cat\n"
        file.write_text(text.format(beanstalkd.url))
        again = partial(load, Flags(config=str(file)), {})
        async with Client.from_url(other.url) as client, Running(again(), reread=again) as running:
            file.write_text(text.format(other.url))
            running.runner.reload()
            await client.put(b"", tube="a")
            await running.job()
    finally:
        other.stop()


async def test_the_same_id_on_another_server_is_another_job(
    beanstalkd: Beanstalkd, file: Path, tmp_path: Path
) -> None:
    """Both servers count from 1, and the two jobs differ in nothing else."""
    wait = f"sh -c 'echo >>{tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.01; done'"
    other = Beanstalkd()
    other.start()
    try:
        text = f"[connection]\nserver={{}}\n[tube:a]\ncommand={wait}\nworkers=2\n"
        file.write_text(text.format(beanstalkd.url))
        again = partial(load, Flags(config=str(file)), {})
        async with (
            Client.from_url(beanstalkd.url) as first,
            Client.from_url(other.url) as second,
            Running(again(), reread=again) as running,
        ):
            assert await first.put(b"x", tube="a") == 1
            await until((tmp_path / "started").exists)
            file.write_text(text.format(other.url))
            running.runner.reload()
            assert await second.put(b"x", tube="a") == 1
            # Two run at the same time, and neither is taken for the other.
            await until(lambda: len((tmp_path / "started").read_text()) == 2)
            assert running.runner.running.keys() == {(beanstalkd.url, 1), (other.url, 1)}
            (tmp_path / "go").touch()
            for url in (beanstalkd.url, other.url):
                job = await running.job(server=url)
                assert (job["id"], job["outcome"]) == (1, "success")
    finally:
        other.stop()


async def test_many_reloads(beanstalkd: Beanstalkd, file: Path) -> None:
    again = reread(file, beanstalkd)
    file.write_text("[tube:a]\ncommand=cat\nworkers=1\n")
    async with (
        Client.from_url(beanstalkd.url) as client,
        Running(again(), reread=again) as running,
    ):
        for workers in (3, 1, 5, 2):
            file.write_text(f"[tube:a]\ncommand=cat\nworkers={workers}\n")
            running.runner.reload()
            await asyncio.sleep(0.01)
        await client.put(b"", tube="a")
        await running.job()
        while (await client.stats_tube("a"))["current-watching"] != 2:
            await asyncio.sleep(0.01)


# --- many slots ------------------------------------------------------------------------------


async def test_200_slots_on_20_tubes(beanstalkd: Beanstalkd) -> None:
    tubes = [f"t{number}" for number in range(20)]
    chosen = settings(beanstalkd, *(f"{tube}:10" for tube in tubes), options={"command": "cat"})
    async with Client.from_url(beanstalkd.url) as client, Running(chosen) as running:
        assert (await client.stats())["current-waiting"] == 200
        # Idle, nothing is asked of the server.
        before = await client.stats()
        await asyncio.sleep(0.5)
        after = await client.stats()
        for key, value in before.items():
            if key.startswith("cmd-") and key != "cmd-stats":
                assert after[key] == value  # type: ignore[literal-required]
        for tube in tubes:
            await client.put_many([b""] * 20, tube=tube)
        await running.job(400, outcome="success")
        slots = {(job["tube"], job["id"]) for job in running.events.find("job")}
        assert len(slots) == 400
    assert len(os.listdir("/proc/self/fd")) < 100
