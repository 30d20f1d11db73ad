"""What becomes of jobs that commands are run for, on a real server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import Client, NotFound
from beanstalkt.worker.handlers.base import CannotStart
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.runner import Runner

from ..support.beanstalkd import Beanstalkd
from ..support.processes import no_child_left
from ..support.running import Running, settings, until


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    no_child_left()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandHandler, "linger", 0.2)


@asynccontextmanager
async def connected(server: Beanstalkd) -> AsyncIterator[Client]:
    async with Client.from_url(server.url) as client:
        await client.use("mail")
        yield client


def shell(script: str, **options: str) -> dict[str, str]:
    quoted = script.replace("'", "'\\''")
    return {"command": f"/bin/sh -c '{quoted}'", **options}


async def one_job(server: Beanstalkd, options: dict[str, str], **put: Any) -> dict[str, Any]:
    """Run one job; its event, with its state at the server as ``state`` (None: deleted)."""
    async with (
        connected(server) as client,
        Running(settings(server, "mail", options=options)) as r,
    ):
        job_id = await client.put(put.pop("body", b""), **put)
        event = await r.job(id=job_id)
        try:
            stats = await client.stats_job(job_id)
        except NotFound:
            return {**event, "state": None}
        return {**event, **stats}


# --- outcomes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "options", "outcome", "action", "state"),
    [
        ("exit 0", {}, "success", "delete", None),
        ("exit 1", {}, "permanent-fail", "bury", "buried"),
        ("exit 2", {}, "temporary-fail", "bury", "buried"),
        ("exit 3", {}, "unknown-fail", "bury", "buried"),
        ("kill -9 $$", {}, "unknown-fail", "bury", "buried"),
        ("exit 2", {"on_temporary_fail": "release"}, "temporary-fail", "release:60", "delayed"),
        ("exit 1", {"on_permanent_fail": "delete"}, "permanent-fail", "delete", None),
        ("exit 75", {"on_exit": "75=release:300"}, "unknown-fail", "release:300", "delayed"),
        (
            "sleep 100",
            {"timeout": "0.1", "on_timeout": "bury"},
            "timeout",
            "bury",
            "buried",
        ),
    ],
)
async def test_outcomes(
    beanstalkd: Beanstalkd,
    script: str,
    options: dict[str, str],
    outcome: str,
    action: str,
    state: str | None,
) -> None:
    job = await one_job(beanstalkd, shell(script, **options), priority=77)
    assert (job["outcome"], job["action"], job["state"]) == (outcome, action, state)
    if state is not None:
        assert job["pri"] == 77


async def test_the_log_line_says_it_all(beanstalkd: Beanstalkd) -> None:
    job = await one_job(beanstalkd, shell("echo no such user >&2; exit 1"))
    assert job["tube"] == "mail"
    assert job["attempt"] == 1
    assert job["seconds"] >= 0
    assert job["exit"] == 1
    assert job["error"] == "no such user"
    assert job["exception"] == "UnclassifiedRunnerError"


async def test_a_body_of_1_mb_that_is_not_read(tmp_path: Path) -> None:
    server = Beanstalkd("-z", "2000000")
    server.start()
    try:
        job = await one_job(server, shell("exit 0"), body=os.urandom(1_000_000))
        assert job["outcome"] == "success"
        body = bytes(range(256)) * 4000
        job = await one_job(server, shell(f"cat >{tmp_path}/body"), body=body)
        assert job["outcome"] == "success"
        assert (tmp_path / "body").read_bytes() == body
    finally:
        server.stop()


async def test_success_after_the_time_limit_is_a_success(beanstalkd: Beanstalkd) -> None:
    script = "trap 'exit 0' TERM; while :; do sleep 0.01; done"
    job = await one_job(beanstalkd, shell(script, timeout="0.3"))
    assert (job["outcome"], job["state"]) == ("success", None)


async def test_a_command_that_ignores_term_is_killed(beanstalkd: Beanstalkd) -> None:
    script = "trap '' TERM; while :; do sleep 0.01; done"
    job = await one_job(beanstalkd, shell(script, timeout="0.3", kill_grace="0.1"))
    assert (job["outcome"], job["action"], job["signal"]) == ("timeout", "release:60", "SIGKILL")


# --- time ------------------------------------------------------------------------------------


async def test_without_a_timeout_the_ttr_is_the_limit(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    script = f"echo run >>{tmp_path}/runs; sleep 5; echo late >>{tmp_path}/runs"
    job = await one_job(beanstalkd, shell(script), ttr=1)
    assert (job["outcome"], job["action"], job["state"]) == ("timeout", "release:60", "delayed")
    assert job["timeouts"] == 0
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_with_a_timeout_the_job_is_kept(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    script = f"echo run >>{tmp_path}/runs; sleep 3"
    options = shell(script, timeout="10")
    async with connected(beanstalkd) as client:
        # Two slots: if the job came back to its tube, the other one would take it.
        async with Running(settings(beanstalkd, "mail:2", options=options)) as running:
            await client.put(b"", ttr=1)
            job = await running.job()
        assert (job["outcome"], job["attempt"]) == ("success", 1)
        assert (tmp_path / "runs").read_text() == "run\n"
        assert (await client.stats_tube("mail"))["current-jobs-ready"] == 0


async def test_the_job_is_kept_while_the_command_is_being_killed(beanstalkd: Beanstalkd) -> None:
    script = "trap '' TERM; while :; do sleep 0.01; done"
    job = await one_job(beanstalkd, shell(script, kill_grace="2"), ttr=1)
    assert (job["outcome"], job["action"], job["timeouts"]) == ("timeout", "release:60", 0)


# --- attempts --------------------------------------------------------------------------------


async def test_attempts_are_counted_and_a_kick_grants_new_ones(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    script = f"echo $BEANSTALKT_ATTEMPT of $BEANSTALKT_MAX_ATTEMPTS >>{tmp_path}/runs; exit 2"
    options = shell(script, on_temporary_fail="release:0", max_attempts="3")
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail:2", options=options)) as running,
    ):
        job_id = await client.put(b"")
        job = await running.job(outcome="exhausted")
        assert (job["action"], job["attempt"]) == ("bury", 4)
        assert (await client.stats_job(job_id))["state"] == "buried"
        await client.kick_job(job_id)
        await running.job(2, outcome="exhausted")
    assert (tmp_path / "runs").read_text() == "1 of 3\n2 of 3\n3 of 3\n" * 2


# --- commands that cannot be started ---------------------------------------------------------


async def test_a_command_that_vanishes(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    options = {"command": str(command), "delay": "0", "max_attempts": "3"}
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail", options=options)) as running,
    ):
        await client.put(b"")
        await running.job(outcome="success")
        command.rename(tmp_path / "away")
        ids = [await client.put(b"") for _ in range(5)]
        job = await running.job(outcome="not-started")
        assert job["action"] == "release:0"
        # The slot waits for the command: the jobs do not lose their attempts meanwhile.
        await running.events.wait(
            "message", 2, message=f"tube mail: the command {command} cannot be found"
        )
        assert [(await client.stats_job(job_id))["reserves"] for job_id in ids] == [1, 0, 0, 0, 0]
        (tmp_path / "away").rename(command)
        await running.job(6, outcome="success")


async def test_a_command_that_is_not_there_at_the_start(beanstalkd: Beanstalkd) -> None:
    runner = Runner(settings(beanstalkd, "mail", options={"command": "/no/such/command"}))
    with pytest.raises(CannotStart, match="tube mail: the command /no/such/command cannot"):
        await runner.run()


# --- ends ------------------------------------------------------------------------------------


async def test_a_burst_ends_when_nothing_is_ready(beanstalkd: Beanstalkd) -> None:
    async with connected(beanstalkd) as client:
        await client.put_many(str(number) for number in range(20))
        await client.put(b"later", delay=100)
        options = {"command": "cat"}
        async with Running(settings(beanstalkd, "mail:3", options=options), burst=True) as running:
            await running.end()
            assert len(running.events.find("job", outcome="success")) == 20
        assert (await client.stats_tube("mail"))["current-jobs-delayed"] == 1


async def test_a_burst_without_any_job(beanstalkd: Beanstalkd) -> None:
    chosen = settings(beanstalkd, "mail:3", "news:2", options={"command": "cat"})
    async with Running(chosen, burst=True) as running:
        await running.end()
        assert not running.events.find("job")


async def test_a_burst_waits_for_what_jobs_put_into_other_tubes(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    # Each job but the last puts one into the next tube.
    script = tmp_path / "script.py"
    script.write_text(
        "import os, socket, sys\n"
        "tube = os.environ['BEANSTALKT_TUBE']\n"
        "if tube != 'c':\n"
        f"    sock = socket.create_connection(({beanstalkd.host!r}, {beanstalkd.port}))\n"
        "    sock.sendall(b'use %c\\r\\nput 0 0 9 0\\r\\n\\r\\nquit\\r\\n' % (ord(tube) + 1))\n"
        "    while sock.recv(100): pass\n"
    )
    options = {"command": f"{sys.executable} {script}"}
    async with Client.from_url(beanstalkd.url) as client:
        await client.put(b"", tube="a")
        chosen = settings(beanstalkd, "a:2", "b", "c:2", options=options)
        async with Running(chosen, burst=True) as running:
            await running.end()
            jobs = running.events.find("job", outcome="success")
            assert [job["tube"] for job in jobs] == ["a", "b", "c"]


async def test_max_jobs_are_run_and_no_more(beanstalkd: Beanstalkd) -> None:
    async with connected(beanstalkd) as client:
        await client.put_many(str(number) for number in range(20))
        options = {"command": "cat"}
        async with Running(settings(beanstalkd, "mail:5", options=options), max_jobs=7) as running:
            await running.end()
            assert len(running.events.find("job")) == 7
        stats = await client.stats_tube("mail")
        assert (stats["current-jobs-ready"], stats["current-jobs-reserved"]) == (13, 0)


async def test_stopping_lets_what_runs_finish(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    options = shell(f"echo >{tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail:2", options=options)) as running,
    ):
        await client.put(b"1")
        await until((tmp_path / "started").exists)
        running.runner.stop()
        await client.put(b"2")
        (tmp_path / "go").touch()
        await running.end()
        assert [job["outcome"] for job in running.events.find("job")] == ["success"]
        assert (await client.stats_tube("mail"))["current-jobs-ready"] == 1


async def test_stopping_twice_releases_what_runs(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    options = shell(f"echo >{tmp_path}/started; exec sleep 100")
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail", options=options)) as running,
    ):
        job_id = await client.put(b"", priority=5)
        await until((tmp_path / "started").exists)
        running.runner.stop()
        running.runner.stop()
        await running.end()
        job = await running.job()
        assert (job["outcome"], job["action"]) == ("stopped", "release:0")
        stats = await client.stats_job(job_id)
        assert (stats["state"], stats["pri"]) == ("ready", 5)


async def test_stopping_three_times_kills(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    script = f"trap '' TERM; echo >{tmp_path}/started; while :; do sleep 0.01; done"
    options = shell(script, kill_grace="1000")
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail", options=options)) as running,
    ):
        job_id = await client.put(b"")
        await until((tmp_path / "started").exists)
        for _ in range(3):
            running.runner.stop()
        await running.end()
        assert (await running.job())["signal"] == "SIGKILL"
        assert (await client.stats_job(job_id))["state"] == "ready"


async def test_a_second_stop_leaves_a_command_its_grace(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    # It has been told to end, for its time is over; the stop must not cut it short.
    script = f"trap 'echo >{tmp_path}/told' TERM; until [ -e {tmp_path}/go ]; do sleep 0.01; done"
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail", options=shell(script, timeout="0.1"))) as running,
    ):
        await client.put(b"")
        await until((tmp_path / "told").exists)
        running.runner.stop()
        running.runner.stop()
        await asyncio.sleep(0.05)
        (tmp_path / "go").touch()
        assert (await running.job())["outcome"] == "success"


async def test_a_pause_keeps_jobs_in_their_tube(beanstalkd: Beanstalkd) -> None:
    async with (
        connected(beanstalkd) as client,
        Running(settings(beanstalkd, "mail:2", options={"command": "cat"})) as running,
    ):
        running.runner.pause()
        while (await client.stats())["current-workers"]:
            await asyncio.sleep(0.01)
        job_id = await client.put(b"")
        stats = await client.stats_job(job_id)
        assert (stats["state"], stats["reserves"]) == ("ready", 0)
        running.runner.resume()
        assert (await running.job())["outcome"] == "success"
        running.runner.pause()
        running.runner.stop()
        await running.end()
