"""Jobs as calls of functions, end to end: a real server, the runner, and its children."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from beanstalkt import Client, NotFound
from beanstalkt.dispatch import DispatcherHandler, schedule_function

from ..support import functions
from ..support.beanstalkd import Beanstalkd
from ..support.processes import no_child_left, until_gone, until_written
from ..support.running import Running, settings, until
from ..support.webserver import listening

CALL = {"call": "tests.support.functions:TABLE"}


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    no_child_left()


async def state(client: Client, job_id: int) -> str | None:
    """The job's state; None: it is deleted."""
    try:
        return (await client.stats_job(job_id))["state"]
    except NotFound:
        return None


async def one_job(
    server: Beanstalkd, options: dict[str, str], name: str, *args: Any
) -> tuple[dict[str, Any], str | None]:
    """Run one job; its event, and its state at the server."""
    async with (
        Client.from_url(server.url) as client,
        Running(settings(server, "mail", options={**CALL, **options})) as running,
    ):
        job_id = await schedule_function(client, "mail", name, *args)
        event = await running.job(id=job_id)
        return event, await state(client, job_id)


JOBS: list[tuple[str, list[Any], dict[str, str], tuple[str, str, str | None]]] = [
    ("takes", [1], {}, ("success", "delete", None)),
    ("raises", ["value"], {}, ("unknown-fail", "bury", "buried")),
    ("raises_async", ["value"], {}, ("unknown-fail", "bury", "buried")),
    (
        "raises",
        ["value"],
        {"on_unknown_fail": "release:9"},
        ("unknown-fail", "release:9", "delayed"),
    ),
    ("raises", ["value"], {"swallow": "yes"}, ("success", "delete", None)),
    ("raises", ["retry"], {}, ("retry", "release:7", "delayed")),
    ("raises", ["reject"], {"on_permanent_fail": "delete"}, ("reject", "bury", "buried")),
    ("ends", [0], {}, ("unknown-fail", "bury", "buried")),
    ("no_such_function", [], {}, ("permanent-fail", "bury", "buried")),
    ("takes", [], {}, ("permanent-fail", "bury", "buried")),
    ("takes", [], {"swallow": "yes"}, ("permanent-fail", "bury", "buried")),
]


@pytest.mark.parametrize(("name", "args", "options", "expected"), JOBS, ids=range(len(JOBS)))
async def test_what_becomes_of_a_job(
    beanstalkd: Beanstalkd,
    name: str,
    args: list[Any],
    options: dict[str, str],
    expected: tuple[str, str, str | None],
) -> None:
    event, left = await one_job(beanstalkd, options, name, *args)
    assert (event["outcome"], event["action"], left) == expected
    if name in functions.TABLE and event["outcome"] != "permanent-fail":
        assert event["function"] == name


async def test_a_failure_that_is_swallowed_is_logged(beanstalkd: Beanstalkd) -> None:
    options = {**CALL, "swallow": "yes"}
    async with (
        Client.from_url(beanstalkd.url) as client,
        Running(settings(beanstalkd, "mail", options=options)) as running,
    ):
        for name, args in (("raises", ["value"]), ("takes", [1])):
            await running.job(id=await schedule_function(client, "mail", name, *args))
        (event,) = running.events.find("swallowed")
        assert (event["function"], event["swallowed"]) == ("raises", "unknown-fail")
        assert event["exception"] == "ValueError"
        assert event["error"]
        assert "Traceback" in event["backtrace"]


@pytest.mark.parametrize("name", ["for_ever", "ignores_term", "cleans_up", "cleans_up_async"])
async def test_past_the_time_limit_it_is_stopped(
    beanstalkd: Beanstalkd, name: str, tmp_path: Path
) -> None:
    # Long enough for a child to start in, on a busy machine.
    limits = {"timeout": "3", "kill_grace": "0.5"}
    event, left = await one_job(beanstalkd, limits, name, str(tmp_path / "out"))
    assert (event["outcome"], event["action"], left) == ("timeout", "release:60", "delayed")
    words = (tmp_path / "out").read_text().split()
    if words[0].isdigit():
        for pid in words:
            await until_gone(int(pid))
    else:
        assert words[-2:] == ["cleaned", "up"]


async def test_a_task_has_a_limit_of_its_own(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    event, left = await one_job(beanstalkd, {}, "Quick", str(tmp_path / "out"), "sleep")
    assert (event["outcome"], event["action"], left) == ("timeout", "release:60", "delayed")
    assert (tmp_path / "out").read_text().split() == ["run", "error", "TaskTimeout", "completion"]


async def test_harm_stays_with_its_own_job(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        harm: list[tuple[str, list[Any]]] = [
            ("ends", [1]),
            ("crashes", []),
            ("closes_everything", []),
            ("closes_stdin", []),
            ("forks", []),
            ("raises", ["unpicklable"]),
            ("raises", ["hostile"]),
            ("returns_what_cannot_be_pickled", []),
            ("eats", [10_000]),
        ]
        good = []
        for name, args in harm:
            await schedule_function(client, "mail", name, *args)
            for _ in range(5):
                path = str(tmp_path / "out")
                good.append(await schedule_function(client, "mail", "write", path))
        options = {**CALL, "max_child_memory": "500M"}
        async with Running(settings(beanstalkd, "mail:3", options=options), burst=True) as running:
            await running.end()
            ended = {event["id"]: event["outcome"] for event in running.events.find("job")}
        assert {ended[job_id] for job_id in good} == {"success"}
        assert list(ended.values()).count("unknown-fail") == 6
        assert (tmp_path / "out").read_text() == "done\n" * len(good)


async def test_a_stop_releases_what_runs(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        async with Running(settings(beanstalkd, "mail", options=CALL)) as running:
            job_id = await schedule_function(client, "mail", "for_ever", str(tmp_path / "out"))
            pid = int(await until_written(tmp_path / "out"))
            running.runner.stop()
            running.runner.stop()
            event = await running.job()
        assert (event["outcome"], event["action"]) == ("stopped", "release:0")
        assert await state(client, job_id) == "ready"
        await until_gone(pid)


async def test_200_coroutines_at_once(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        for _ in range(200):
            await schedule_function(client, "mail", "write_async", str(tmp_path / "out"))
        chosen = settings(beanstalkd, "mail:20", options=CALL)
        async with Running(chosen, burst=True) as running:
            await running.end()
            assert len(running.events.find("job", outcome="success")) == 200
    assert (tmp_path / "out").read_text() == "done\n" * 200


async def test_the_command_line_from_a_file_to_the_end(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    (tmp_path / "my_tasks.py").write_text(
        "import logging\ndef greet(name): logging.getLogger('mine').info('hello %s', name)\n"
    )
    (tmp_path / "worker.ini").write_text(
        f"[connection]\nserver = {beanstalkd.url}\n"
        "[tube:mail]\ncall = dispatch\n[dispatch]\ngreet = my_tasks.greet\n"
    )
    async with Client.from_url(beanstalkd.url) as client:
        await schedule_function(client, "mail", "greet", "ada")
        command = ["work", "--config", "worker.ini", "--log-format", "json", "--max-jobs", "1"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "beanstalkt.cmd", *command, cwd=tmp_path, stderr=-1
        )
        _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["outcome"] for event in events if event["event"] == "job"] == ["success"]
    assert "hello ada" in [event.get("message") for event in events]


@pytest.mark.parametrize("check", [["--check"], []])
async def test_a_wrong_table_ends_it_at_the_start(
    beanstalkd: Beanstalkd, check: list[str]
) -> None:
    words = ["--server", beanstalkd.url, "work", "--tube", "mail", *check]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "beanstalkt.cmd", *words],
        *["--call", "tests.support.functions:WRONG"],
        stderr=-1,
    )
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"missing: tests.support.functions has no no_such_function" in err
    assert b"Traceback" not in err


async def test_children_end_with_a_runner_that_is_killed(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    async with Client.from_url(beanstalkd.url) as client:
        job_id = await schedule_function(client, "mail", "ignores_term", str(tmp_path / "out"))
        words = ["--server", beanstalkd.url, "work", "--tube", "mail", "--call", CALL["call"]]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "beanstalkt.cmd", *words, stderr=asyncio.subprocess.DEVNULL
        )
        pids = (await until_written(tmp_path / "out")).split()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        for pid in pids:
            await until_gone(int(pid))
        while await state(client, job_id) != "ready":
            await asyncio.sleep(0.01)


async def test_the_circle_closes(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    """schedule_function, the server, the runner with --http, a web application, the function."""

    def quiet(_: RequestHandler) -> None:
        pass

    url = "/beanstalk_dispatch/dispatcher"
    table = {"table": functions.TABLE}
    server = HTTPServer(Application([(url, DispatcherHandler, table)], log_function=quiet))
    sock = listening()
    server.add_socket(sock)
    target = f"http://127.0.0.1:{sock.getsockname()[1]}{url}"
    options = {"http": target, "compat": "sqsd"}
    out = str(tmp_path / "out")
    try:
        async with (
            Client.from_url(beanstalkd.url) as client,
            Running(settings(beanstalkd, "mail:4", options=options)) as running,
        ):
            good = [
                await schedule_function(client, "mail", name, out)
                for name in ("write", "write_async", "Logged", "LoggedAsync")
            ]
            failed = await schedule_function(client, "mail", "raises", "value")
            unknown = await schedule_function(client, "mail", "os.system", "true")
            await until(lambda: len(running.events.find("job")) == 6, "6 jobs", running.events)
            assert [await state(client, job_id) for job_id in good] == [None] * 4
            assert await state(client, failed) == await state(client, unknown) == "buried"
            told = [running.events.find("job", id=job_id)[0] for job_id in (failed, unknown)]
            assert "no such user" in told[0]["answer"]
            assert "function not found" in told[1]["answer"]
    finally:
        server.stop()
        await server.close_all_connections()
    assert sorted((tmp_path / "out").read_text().split()) == sorted(
        ["done", "done", *["run", "success", "completion"] * 2]
    )
