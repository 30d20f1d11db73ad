"""What becomes of running jobs when connections and servers go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from beanstalkt import Client, ConnectionLost, NotFound
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.runner import Runner

from ..support.beanstalkd import Beanstalkd
from ..support.processes import no_child_left
from ..support.restarting_proxy import Proxy
from ..support.running import TIMING, Running, settings, until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandHandler, "linger", 0.2)


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Beanstalkd]:
    """A server that keeps its jobs over a restart."""
    (tmp_path / "binlog").mkdir()
    server = Beanstalkd("-b", str(tmp_path / "binlog"), "-f", "0")
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def relayed(server: Beanstalkd) -> AsyncIterator[tuple[Proxy, Client]]:
    """A way to the server that can be cut, and a client beside it."""
    async with Proxy(server) as proxy, Client.from_url(server.url) as client:
        await client.use("mail")
        yield proxy, client


class Gate:
    """A command that tells when it runs and ends when it may."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def options(self, **more: str) -> dict[str, str]:
        """Each run writes a line ``ID start`` and, when it may end, a line ``ID end``."""
        script = (
            f"echo $BEANSTALKT_JOB_ID start >>{self.path}/runs; "
            f"until [ -e {self.path}/open ]; do sleep 0.02; done; "
            f"echo $BEANSTALKT_JOB_ID end >>{self.path}/runs"
        )
        return {"command": f"/bin/sh -c '{script}'", **more}

    def lines(self) -> list[str]:
        path = self.path / "runs"
        return path.read_text().splitlines() if path.exists() else []

    async def started(self, count: int = 1) -> None:
        await until(lambda: len([x for x in self.lines() if "start" in x]) >= count, "starts")

    def open(self) -> None:
        (self.path / "open").touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def state(client: Client, job_id: int) -> str | None:
    """Its state; None when it is gone."""
    try:
        return (await client.stats_job(job_id))["state"]
    except NotFound:
        return None


async def until_state(client: Client, job_id: int, wanted: str | None) -> None:
    for _ in range(1000):
        if await state(client, job_id) == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{await state(client, job_id)} instead of {wanted}")


async def until_reserves(client: Client, job_id: int, count: int) -> None:
    while (await client.stats_job(job_id))["reserves"] < count:
        await asyncio.sleep(0.01)


# --- the connection --------------------------------------------------------------------------


async def test_a_job_is_taken_back_after_a_lost_connection(
    beanstalkd: Beanstalkd, gate: Gate
) -> None:
    async with relayed(beanstalkd) as (proxy, client):
        async with Running(settings(proxy.url, "mail", options=gate.options())) as running:
            job_id = await client.put(b"x", ttr=100)
            await gate.started()
            proxy.cut()
            # Long before the next touch would be due.
            await until_reserves(client, job_id, 2)
            gate.open()
            assert (await running.job())["outcome"] == "success"
        assert await state(client, job_id) is None
    assert gate.lines() == ["1 start", "1 end"]


async def test_a_job_that_ended_meanwhile_is_settled_after_the_reconnect(
    beanstalkd: Beanstalkd, gate: Gate
) -> None:
    async with relayed(beanstalkd) as (proxy, client):
        async with Running(settings(proxy.url, "mail", options=gate.options())) as running:
            job_id = await client.put(b"x", ttr=100)
            await gate.started()
            proxy.refuse()
            gate.open()
            await until(lambda: gate.lines() == ["1 start", "1 end"])
            assert await state(client, job_id) == "ready"
            await proxy.accept()
            job = await running.job()
            assert (job["outcome"], job["action"]) == ("success", "delete")
        assert await state(client, job_id) is None


async def test_no_other_slot_runs_it_meanwhile(beanstalkd: Beanstalkd, gate: Gate) -> None:
    async with relayed(beanstalkd) as (proxy, client):
        async with Running(settings(proxy.url, "mail:8", options=gate.options())) as running:
            job_id = await client.put(b"x", ttr=100)
            await gate.started()
            # Only the connection that holds it: the idle slots get the job within a millisecond.
            next(line for line in proxy.lines if b"stats-job" in line.sent).cut()
            # An idle slot's reserve, and the one that took it back.
            await until_reserves(client, job_id, 3)
            gate.open()
            assert (await running.job())["outcome"] == "success"
        assert await state(client, job_id) is None
    assert gate.lines() == ["1 start", "1 end"]


@pytest.mark.parametrize("fate", ["deleted", "reserved", "buried", "released with a delay"])
async def test_a_lost_reservation_stops_the_command_and_settles_nothing(
    beanstalkd: Beanstalkd, gate: Gate, fate: str
) -> None:
    async with relayed(beanstalkd) as (proxy, client):  # noqa: SIM117
        async with Running(settings(proxy.url, "mail", options=gate.options())) as running:
            job_id = await client.put(b"x", ttr=100)
            await gate.started()
            proxy.refuse()
            await until_state(client, job_id, "ready")
            if fate == "deleted":
                await client.delete(job_id)
            else:
                other = await client.reserve_job(job_id)
                if fate == "buried":
                    await other.bury()
                elif fate == "released with a delay":
                    await other.release(delay=50)
            before = await state(client, job_id)
            await proxy.accept()
            job = await running.job()
            assert (job["outcome"], job["action"]) == ("lost", "none")
            assert job["handler"] == "unknown-fail"
            assert job["error"]
            assert await state(client, job_id) == before
            gate.open()
            # The slot goes on with other jobs.
            await client.put(b"y")
            assert (await running.job(outcome="success"))["id"] != job_id
    assert "1 end" not in gate.lines()


async def test_a_reply_to_the_settling_that_got_lost(beanstalkd: Beanstalkd, gate: Gate) -> None:
    async with relayed(beanstalkd) as (proxy, client):
        async with Running(settings(proxy.url, "mail", options=gate.options())) as running:
            job_id = await client.put(b"x", ttr=100)
            await gate.started()
            line = proxy.lines[-1]
            line.back = lambda data: line.cut()  # type: ignore[method-assign]
            gate.open()
            job = await running.job()
            assert (job["id"], job["outcome"], job["action"]) == (job_id, "success", "delete")
            assert job["answer"] == "lost"
        assert await state(client, job_id) is None


async def test_an_idle_runner_comes_back(beanstalkd: Beanstalkd) -> None:
    async with relayed(beanstalkd) as (proxy, client):
        options = {"command": "cat"}
        async with Running(settings(proxy.url, "mail:3", options=options)) as running:
            proxy.cut()
            await until(lambda: len(proxy.lines) == 3)
            await client.put(b"x")
            await running.job(outcome="success")


# --- the server ------------------------------------------------------------------------------


async def test_20_commands_run_through_a_kill_of_the_server(
    durable: Beanstalkd, gate: Gate
) -> None:
    options = gate.options()
    async with Running(settings(durable, "mail:25", options=options)) as running:
        async with Client.from_url(durable.url) as client:
            await client.put_many([str(number) for number in range(20)], ttr=100, tube="mail")
        await gate.started(20)
        durable.restart()
        async with Client.from_url(durable.url) as client:
            while (await client.stats_tube("mail"))["current-jobs-reserved"] < 20:
                await asyncio.sleep(0.02)
            gate.open()
            await running.job(20, outcome="success", action="delete")
            assert (await client.stats())["current-jobs-ready"] == 0
    assert len(gate.lines()) == 40
    assert len(set(gate.lines())) == 40


async def test_the_server_gone_for_longer_than_the_ttr(durable: Beanstalkd, gate: Gate) -> None:
    options = gate.options(timeout="100")
    async with Running(settings(durable, "mail", options=options)) as running:
        async with Client.from_url(durable.url) as client:
            await client.put(b"x", ttr=1, tube="mail")
        await gate.started()
        durable.stop()
        await asyncio.sleep(1.5)
        durable.start()
        gate.open()
        assert (await running.job())["outcome"] == "success"
        async with Client.from_url(durable.url) as client:
            assert await state(client, 1) is None
    assert gate.lines() == ["1 start", "1 end"]


async def test_a_server_that_has_forgotten_everything(beanstalkd: Beanstalkd, gate: Gate) -> None:
    options = gate.options()
    async with Running(settings(beanstalkd, "mail", options=options)) as running:
        async with Client.from_url(beanstalkd.url) as client:
            await client.put(b"x", ttr=100, tube="mail")
        await gate.started()
        beanstalkd.stop()
        gate.open()
        await until(lambda: "1 end" in gate.lines())
        beanstalkd.start()
        job = await running.job()
        assert (job["outcome"], job["action"]) == ("lost", "none")
        assert job["handler"] == "success"


@pytest.mark.parametrize(
    ("tube", "body"), [("mail", b"other"), ("news", b"x")], ids=["other body", "other tube"]
)
async def test_a_job_that_got_the_same_id_is_left_alone(
    beanstalkd: Beanstalkd, gate: Gate, tube: str, body: bytes
) -> None:
    async with Proxy(beanstalkd) as proxy:
        options = gate.options()
        async with Running(settings(proxy.url, "mail", options=options)) as running:
            async with Client.from_url(beanstalkd.url) as client:
                await client.put(b"x", ttr=100, tube="mail")
            await gate.started()
            proxy.refuse()
            beanstalkd.restart()
            async with Client.from_url(beanstalkd.url) as client:
                assert await client.put(body, delay=1000, tube=tube) == 1
                await proxy.accept()
                job = await running.job()
                assert (job["outcome"], job["action"]) == ("lost", "none")
                stats = await client.stats_job(1)
                assert (stats["state"], stats["reserves"]) == ("delayed", 0)


async def test_the_same_job_put_again_is_another_job(beanstalkd: Beanstalkd, gate: Gate) -> None:
    # It has run for longer than the job exists.
    exact = replace(TIMING, age_tolerance=0.0)
    async with Proxy(beanstalkd) as proxy:
        options = gate.options()
        async with Running(settings(proxy.url, "mail", options=options), timing=exact) as running:
            async with Client.from_url(beanstalkd.url) as client:
                await client.put(b"x", ttr=100, tube="mail")
            await gate.started()
            await asyncio.sleep(0.5)
            proxy.refuse()
            beanstalkd.restart()
            async with Client.from_url(beanstalkd.url) as client:
                assert await client.put(b"x", delay=1000, tube="mail") == 1
                await proxy.accept()
                job = await running.job()
                assert (job["outcome"], job["error"]) == ("lost", "another job has its id")
                assert (await client.stats_job(1))["reserves"] == 0


async def test_stopping_at_once_while_the_server_is_gone(
    beanstalkd: Beanstalkd, gate: Gate
) -> None:
    async with Running(settings(beanstalkd, "mail:3", options=gate.options())) as running:
        async with Client.from_url(beanstalkd.url) as client:
            await client.put(b"x", ttr=100, tube="mail")
        await gate.started()
        beanstalkd.stop()
        running.runner.stop()
        running.runner.stop()
        await running.end()
        job = await running.job()
        assert (job["outcome"], job["action"]) == ("lost", "none")


async def test_a_finished_job_waits_for_the_server_when_stopped_once(
    durable: Beanstalkd, gate: Gate
) -> None:
    async with Running(settings(durable, "mail:3", options=gate.options())) as running:
        async with Client.from_url(durable.url) as client:
            await client.put(b"x", ttr=100, tube="mail")
        await gate.started()
        durable.stop()
        running.runner.stop()
        gate.open()
        await until(lambda: "1 end" in gate.lines())
        durable.start()
        await running.end()
        assert (await running.job())["outcome"] == "success"


async def test_a_frozen_server_that_thaws(beanstalkd: Beanstalkd, gate: Gate) -> None:
    async with (
        Running(settings(beanstalkd, "mail", options=gate.options())) as running,
        Client.from_url(beanstalkd.url) as client,
    ):
        await client.put(b"x", ttr=1, tube="mail")
        await gate.started()
        beanstalkd.freeze()
        await asyncio.sleep(1.2)
        beanstalkd.thaw()
        gate.open()
        # Whether the time limit or the end came first: it was not run twice, nor lost.
        job = await running.job()
        assert job["outcome"] in ("success", "timeout")
        assert await state(client, 1) in (None, "delayed")
    assert gate.lines().count("1 start") == 1


async def test_a_server_that_is_not_there_at_the_start() -> None:
    runner = Runner(
        settings("beanstalk://127.0.0.1:1", "mail", options={"command": "cat"}),
        connect_timeout=0.1,
    )
    with pytest.raises(ConnectionLost):
        await runner.run()


def test_nothing_is_left() -> None:
    no_child_left()
