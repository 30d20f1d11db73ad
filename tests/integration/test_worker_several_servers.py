"""The runner over several servers: slots that work for all of them, losses, and reloads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beanstalkt import Worker, WorkerJob
from beanstalkt.metrics.runner_counts import RunnerCounts
from beanstalkt.metrics.runner_status import status_of
from beanstalkt.worker.config.loading import load
from beanstalkt.worker.config.settings import ConfigError, Settings
from beanstalkt.worker.config.sources import Flags
from beanstalkt.worker.handlers.command.handler import CommandHandler

from ..support.beanstalkd import Beanstalkd
from ..support.clients import client_of
from ..support.running import Running, settings, until
from ..support.several import Servers, pool_of, several, urls_of
from ..support.waiting import until_awaited


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandHandler, "linger", 0.2)


@pytest.fixture
def servers(patient: None) -> Iterator[Servers]:
    with several(3) as found:
        yield found


def named(servers: Servers) -> str:
    return " ".join(f"{name}={url}" for name, url in urls_of(servers).items())


def gated(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a file, and the options of a command that ends once there is that file."""
    gate = folder / "open"
    return gate, {"command": f"/bin/sh -c 'until [ -e {gate} ]; do sleep 0.02; done'"}


async def all_done(servers: Servers, *, buried: int = 0) -> None:
    """Wait until no server has a job, but for so many buried ones."""
    async with pool_of(servers) as pool:

        async def done() -> bool:
            stats = await pool.stats()
            left = ("ready", "reserved", "delayed")
            return (
                not any(stats[f"current-jobs-{state}"] for state in left)  # type: ignore[literal-required]
                and stats["current-jobs-buried"] == buried
            )

        await until_awaited(done, "no job is left")


async def test_slots_work_for_all_servers(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        early = await pool.put_many([b"x"] * 6, tube="mail")
        async with Running(settings(named(servers), "mail:2", options={"command": "true"})) as run:
            late = [await pool.put(b"x", tube="mail") for _ in range(6)]
            await run.job(12, outcome="success")
            found = {f"{event['server']}/{event['id']}" for event in run.events.find("job")}
            assert found == {*early, *late}
        await all_done(servers)


async def test_a_command_is_told_the_server_of_its_job(servers: Servers, tmp_path: Path) -> None:
    script = f"echo $BEANSTALKT_SERVER $BEANSTALKT_JOB_ID >>{tmp_path}/out"
    async with pool_of(servers) as pool:
        await asyncio.gather(*(pool.put(b"x", tube="t") for _ in range(3)))
    chosen = settings(named(servers), "t", options={"command": f"/bin/sh -c '{script}'"})
    async with Running(chosen) as run:
        await run.job(3)
    told = sorted((tmp_path / "out").read_text().split())
    assert told == sorted([*urls_of(servers).values(), "1", "1", "1"])


async def test_a_burst_ends_when_all_servers_are_empty(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        await asyncio.gather(*(pool.put(b"x", tube="t") for _ in range(9)))
    chosen = settings(named(servers), "t:4", options={"command": "true"})
    async with Running(chosen, burst=True) as run:
        await run.end()
        assert len(run.events.find("job", outcome="success")) == 9
    async with Running(chosen, max_jobs=1) as run:
        async with pool_of(servers) as pool:
            await pool.put_many([b"x"] * 5, tube="t")
        await run.end()
        assert len(run.events.find("job")) == 1


async def test_an_idle_runner_asks_for_nothing_and_stops_at_once(servers: Servers) -> None:
    chosen = settings(named(servers), "t:8", options={"command": "true"})
    async with Running(chosen) as run, client_of(servers["a"]) as client:

        async def waits() -> bool:
            return (await client.stats())["current-waiting"] == 1

        await until_awaited(waits, "one connection that waits at each server, for all slots")
        before = await client.stats()
        await asyncio.sleep(0.2)
        after = await client.stats()
        for key in ("cmd-reserve", "cmd-reserve-with-timeout"):
            assert after[key] == before[key]
        run.runner.pause()
        await until_awaited(lambda: _waiting(client, 0), "no connection that waits")
        run.runner.resume()
        await until_awaited(waits, "one connection that waits again")
        run.runner.stop()
        await run.end()


async def _waiting(client: object, count: int) -> bool:
    stats = await client.stats()  # type: ignore[attr-defined]
    return bool(stats["current-waiting"] == count)


async def test_one_server_lost_leaves_the_others_at_work(servers: Servers, tmp_path: Path) -> None:
    """Its running job is taken back when it is there again, as with one server."""
    directory = tmp_path / "binlog"
    directory.mkdir()
    servers["c"].stop()
    durable = Beanstalkd("-b", str(directory), "-f", "0")
    durable.start()
    servers["c"] = durable
    gate = tmp_path / "open"
    script = (
        f'read body; if [ "$body" = wait ]; then until [ -e {gate} ]; do sleep 0.02; done; fi; '
        f"echo $body >>{tmp_path}/runs"
    )
    chosen = settings(named(servers), "t:3", options={"command": f"/bin/sh -c '{script}'"})
    try:
        async with Running(chosen) as run:
            async with client_of(durable) as client:
                await client.put(b"wait\n", tube="t")
            await until(lambda: bool(run.runner.running), "the job runs")
            durable.kill()
            async with pool_of({name: servers[name] for name in "ab"}) as pool:
                await asyncio.gather(*(pool.put(b"quick\n", tube="t") for _ in range(10)))
            await run.job(10, outcome="success")
            durable.start()
            await run.events.wait("taken-back")
            gate.touch()
            await run.job(11, outcome="success")
            runs = Counter((tmp_path / "runs").read_text().split())
            assert runs == {"quick": 10, "wait": 1}
            async with client_of(durable) as client:
                await client.put(b"quick\n", tube="t")
            await run.job(12, outcome="success")
        await all_done(servers)
    finally:
        durable.stop()


async def test_slots_do_not_wait_for_a_lost_server(servers: Servers, tmp_path: Path) -> None:
    """The work of their jobs is done, and other servers have some: only the settling waits."""
    gate = tmp_path / "open"
    script = (
        f'read body; if [ "$body" = wait ]; then until [ -e {gate} ]; do sleep 0.02; done; fi; '
        f"echo $body >>{tmp_path}/runs"
    )
    chosen = settings(named(servers), "t:2", options={"command": f"/bin/sh -c '{script}'"})
    async with Running(chosen) as run, client_of(servers["a"]) as client:
        await client.put_many([b"wait\n"] * 2, tube="t")
        await until(lambda: len(run.runner.running) == 2, "both slots run jobs of a")
        servers["a"].freeze()  # it has the jobs still, and answers nothing
        for slot in run.runner._slots():
            slot.holder.connection.abort("the test cuts it")  # type: ignore[attr-defined]
        gate.touch()
        async with client_of(servers["b"]) as other:
            await other.put_many([b"quick\n"] * 4, tube="t")
        await run.job(4, outcome="success", server="b")
        servers["a"].thaw()
        await run.job(2, outcome="success", server="a")
        runs = Counter((tmp_path / "runs").read_text().split())
        assert runs == {"quick": 4, "wait": 2}
        await until(lambda: len(run.runner._slots()) == 2, "the slots that waited have ended")
    await all_done(servers)


async def test_jobs_are_released_when_the_runner_is_told_to_stop_now(servers: Servers) -> None:
    async with pool_of(servers) as pool:
        for name in servers:
            await pool.clients[name].put(b"x", 55, tube="t")
        chosen = settings(named(servers), "t:3", options={"command": "sleep 60"})
        async with Running(chosen) as run:
            await until(lambda: len(run.runner.running) == 3, "three jobs run")
            run.runner.stop()
            run.runner.stop()
            await run.end()
        for name in servers:
            stats = await pool.clients[name].stats_job(1)
            assert (stats["state"], stats["pri"]) == ("ready", 55)


async def test_a_reload_adds_and_removes_servers(servers: Servers, tmp_path: Path) -> None:
    """What runs on a server that was removed is finished there."""
    gate, options = gated(tmp_path)
    ab = {name: servers[name] for name in "ab"}
    bc = {name: servers[name] for name in "bc"}
    chosen = [settings(named(ab), "t:2", options=options)]

    def reread() -> Settings:
        return chosen[-1]

    async with Running(chosen[0], reread=reread) as run, client_of(servers["a"]) as client:
        await client.put(b"x", tube="t")
        await until(lambda: bool(run.runner.running), "the job of a runs")
        chosen.append(replace(chosen[0], server=named(bc)))
        run.runner.reload()
        await run.events.wait("reloaded")
        await client.put(b"never", tube="t")
        async with client_of(servers["c"]) as new:
            await new.put(b"x", tube="t")
        await until(lambda: len(run.runner.running) == 2, "the job of c runs")
        gate.touch()
        await run.job(2, outcome="success")
        assert {event["server"] for event in run.events.find("job")} == {"a", "c"}

        async def gone() -> bool:
            stats = await client.stats()
            return stats["current-connections"] == 1 and stats["current-jobs-ready"] == 1

        await until_awaited(gone, "no connection of the runner at the server that has left")


async def test_a_server_that_answers_nothing_can_be_removed(
    servers: Servers, tmp_path: Path
) -> None:
    """Its job is settled when it goes on; until then the slots work for the others."""
    gate, options = gated(tmp_path)
    ab = {name: servers[name] for name in "ab"}
    bc = {name: servers[name] for name in "bc"}
    chosen = [settings(named(ab), "t:2", options=options)]
    async with (
        Running(chosen[0], reread=lambda: chosen[-1]) as run,
        client_of(servers["a"]) as client,
    ):
        await client.put(b"x", tube="t")
        await until(lambda: bool(run.runner.running), "the job of a runs")
        servers["a"].freeze()
        chosen.append(replace(chosen[0], server=named(bc)))
        run.runner.reload()
        await run.events.wait("reloaded")
        gate.touch()
        async with client_of(servers["c"]) as new:
            await new.put(b"x", tube="t")
        await run.job(1, outcome="success", server="c")
        servers["a"].thaw()
        await run.job(1, outcome="success", server="a")

        async def gone() -> bool:
            return bool((await client.stats())["current-connections"] == 1)

        await until_awaited(gone, "no connection of the runner at the server that has left")
    await all_done(servers)


async def test_what_is_counted_has_the_names_of_the_servers(
    servers: Servers, tmp_path: Path
) -> None:
    gate, options = gated(tmp_path)
    ab = {name: servers[name] for name in "ab"}
    chosen = [settings(named(ab), "t:2", options=options)]
    counts = RunnerCounts()
    observed = {"observers": [counts], "reread": lambda: chosen[-1]}
    async with Running(chosen[0], **observed) as run, client_of(servers["b"]) as client:
        assert run.events.find("ready", server="a b")
        slots = run.runner._slots()
        await client.put(b"x", tube="t")
        await until(lambda: bool(run.runner.running), "the job runs")
        status = {each["server"]: each for each in status_of(counts)["tubes"]}
        assert [(name, each["busy"], each["slots"]) for name, each in status.items()] == [
            ("a b", 1, 2),
            ("b", 1, 0),
        ]
        assert [job["server"] for job in status_of(counts)["running"]] == ["b"]
        chosen.append(replace(chosen[0], server=named(servers)))
        run.runner.reload()
        await run.events.wait("reloaded")
        assert run.events.find("tube", servers="a b c")
        assert run.runner._slots() == slots, "they stay, with what they run"
        gate.touch()
        await run.job(1, outcome="success", server="b")
        tubes = counts.tubes()
        assert {key: each.slots for key, each in tubes.items()} == {
            ("a b", "t"): 0,
            ("a b c", "t"): 2,
            ("b", "t"): 0,
        }
        assert tubes["b", "t"].finished == {("success", "delete"): 1}
        assert counts.servers() == [urls_of(servers)]


async def test_one_server_with_a_name_is_called_by_it_and_without_one_by_its_url(
    servers: Servers,
) -> None:
    url = servers["a"].url
    for server, name in ((url, url), (f"one={url}", "one")):
        async with client_of(servers["a"]) as client:
            await client.put(b"x", tube="t")
        async with Running(settings(server, "t", options={"command": "true"})) as run:
            await run.job(outcome="success", server=name)


async def test_a_reload_may_go_from_one_server_to_several_and_back(servers: Servers) -> None:
    one = settings(servers["a"].url, "t", options={"command": "true"})
    several_ = settings(named(servers), "t", options={"command": "true"})
    chosen = [one]
    async with Running(one, reread=lambda: chosen[-1]) as run:
        for number, following in enumerate((several_, one), start=1):
            chosen.append(following)
            run.runner.reload()
            await run.events.wait("reloaded", number)
            async with client_of(servers["a"]) as client:
                await client.put(b"x", tube="t")
            await run.job(number, outcome="success")


async def test_all_tubes_of_all_servers(servers: Servers) -> None:
    chosen = settings(named(servers), options={"command": "true"}, all_tubes=True)
    async with Running(chosen) as run:
        for name, server in servers.items():
            async with client_of(server) as client:
                await client.put(b"x", tube=f"only-{name}")
            await run.job(tube=f"only-{name}")
        async with client_of(servers["b"]) as client:

            async def forgotten() -> bool:
                return await client.list_tubes() == ["default"]

            await until_awaited(forgotten, "tubes that only the runner knows are let go")


async def test_a_worker_takes_several_servers(servers: Servers) -> None:
    seen: list[str] = []
    names: list[str] = []

    async def handler(job: WorkerJob) -> None:
        seen.append(job.server)
        names.append(job.server_name)

    async with pool_of(servers) as pool:
        await asyncio.gather(*(pool.put(b"x", tube="t") for _ in range(30)))
    await Worker(urls_of(servers), "t", handler, concurrency=5, burst=True).run(signals=False)
    assert Counter(seen) == dict.fromkeys(urls_of(servers).values(), 10)
    assert Counter(names) == dict.fromkeys(servers, 10)


async def test_servers_that_are_away_at_the_start_are_joined_later(servers: Servers) -> None:
    servers["a"].kill()
    chosen = settings(named(servers), "t", options={"command": "true"})
    async with Running(chosen) as run:
        servers["a"].start()
        async with client_of(servers["a"]) as client:
            await client.put(b"x", tube="t")
        await run.job(outcome="success")


# --- the configuration ---

TUBE = "[tube:t]\ncommand = true\n"


def read(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "work.ini"
    file.write_text(text)
    return load(Flags(config=str(file)), environ)


def test_the_file_names_several_servers_with_weights(tmp_path: Path) -> None:
    text = f"[connection]\nservers = a=beanstalk://h\n  b=beanstalk://g:1?weight=3\n{TUBE}"
    wanted = "a=beanstalk://h:11300 b=beanstalk://g:1?weight=3"
    assert read(tmp_path, text).server == wanted
    environ = {"BEANSTALKD_URL": "x=beanstalk://h y=beanstalk://g"}
    found = read(tmp_path, text, **environ).server
    assert found == "x=beanstalk://h:11300 y=beanstalk://g:11300"
    assert load(Flags({"command": "true"}, ["t"], server=wanted), {}).server == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("servers = a=beanstalk://h a=beanstalk://g", "2: servers: two servers are called 'a'"),
        ("servers = a=http://h", "2: servers: bad URL"),
        ("servers =", "2: servers: no server is given"),
        (
            "servers = a=beanstalk://h\nserver = beanstalk://h",
            "3: server: servers says it already",
        ),
        ("servers = a=beanstalk://h\nport = 1", "3: port: servers says it already"),
    ],
)
def test_what_is_wrong_with_the_servers_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[connection]\n{text}\n{TUBE}")
    assert problem in str(caught.value)
