"""Jobs as HTTP requests, end to end: a real server, the runner, and web servers on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from beanstalkt import Client, NotFound

from ..support.beanstalkd import Beanstalkd, free_port
from ..support.running import Running, settings, until
from ..support.webserver import Web, serving


async def one_job(
    server: Beanstalkd, options: dict[str, str], body: bytes = b"{}", **put: Any
) -> dict[str, Any]:
    """Run one job; its event, with its state at the server as ``state`` (None: deleted)."""
    async with (
        Client.from_url(server.url) as client,
        Running(settings(server, "mail", options=options)) as running,
    ):
        job_id = await client.put(body, tube="mail", **put)
        event = await running.job(id=job_id)
        try:
            return {**event, **await client.stats_job(job_id)}
        except NotFound:
            return {**event, "state": None}


def answering(code: int, body: str = "", **headers: str) -> Any:
    def answer(handler: RequestHandler) -> None:
        handler.set_status(code)
        for name, text in headers.items():
            handler.set_header(name.replace("_", "-"), text)
        if body:
            handler.write(body)

    return answer


OUTCOMES: list[tuple[Any, dict[str, str], tuple[str, str, str | None]]] = [
    (answering(200), {}, ("success", "delete", None)),
    (answering(204), {}, ("permanent-fail", "bury", "buried")),
    (answering(204), {"success": "2xx"}, ("success", "delete", None)),
    (answering(302, Location="/"), {}, ("permanent-fail", "bury", "buried")),
    (answering(404), {}, ("permanent-fail", "bury", "buried")),
    (answering(500), {}, ("permanent-fail", "bury", "buried")),
    (answering(503), {}, ("temporary-fail", "release:60", "delayed")),
    (answering(429), {}, ("temporary-fail", "release:60", "delayed")),
    (answering(503, Retry_After="300"), {}, ("temporary-fail", "release:300", "delayed")),
    (answering(503, Retry_After="99999"), {}, ("temporary-fail", "release:3600", "delayed")),
    (
        answering(503, Retry_After="300"),
        {"max_delay": "100"},
        ("temporary-fail", "release:100", "delayed"),
    ),
    (
        answering(503, Retry_After="300"),
        {"on_temporary_fail": "bury"},
        ("temporary-fail", "bury", "buried"),
    ),
    (
        lambda _: asyncio.sleep(3600),
        {"timeout": "0.3", "kill_grace": "1"},
        ("timeout", "release:60", "delayed"),
    ),
]


@pytest.mark.parametrize(("answer", "options", "expected"), OUTCOMES, ids=range(len(OUTCOMES)))
async def test_outcomes(
    beanstalkd: Beanstalkd,
    answer: Any,
    options: dict[str, str],
    expected: tuple[str, str, str | None],
) -> None:
    async with serving(answer) as web:
        job = await one_job(beanstalkd, {"http": web.url, **options}, priority=77)
    assert (job["outcome"], job["action"], job["state"]) == expected
    if job["state"] is not None:
        assert job["pri"] == 77


async def test_the_log_line_has_the_answer(beanstalkd: Beanstalkd) -> None:
    async with serving(answering(404, "no such user\nsorry\n!")) as web:
        job = await one_job(beanstalkd, {"http": web.url})
    assert (job["status"], job["answer"]) == (404, "no such user\nsorry")
    assert job["error"] == "status 404 Not Found"


async def test_five_attempts_and_then_it_is_buried(beanstalkd: Beanstalkd) -> None:
    async with (
        serving(answering(503)) as web,
        Client.from_url(beanstalkd.url) as client,
        Running(settings(beanstalkd, "mail", options={"http": web.url, "delay": "0"})) as running,
    ):
        job_id = await client.put(b"", tube="mail")
        await running.job(id=job_id, outcome="exhausted")
        attempts = [seen.headers["X-Beanstalkt-Attempt"] for seen in web.requests]
        assert attempts == ["1", "2", "3", "4", "5"]
        assert (await client.stats_job(job_id))["state"] == "buried"


async def test_the_application_is_away_and_comes_back(beanstalkd: Beanstalkd) -> None:
    port = free_port()
    seen = []

    class Handler(RequestHandler):
        def post(self) -> None:
            seen.append(self.request.body)

    options = {"http": f"http://127.0.0.1:{port}/", "delay": "0", "max_attempts": "0"}
    async with (
        Client.from_url(beanstalkd.url) as client,
        Running(settings(beanstalkd, "mail", options=options)) as running,
    ):
        job_id = await client.put(b"patience", tube="mail")
        await running.job(id=job_id, outcome="temporary-fail")
        server = HTTPServer(Application([("/", Handler)], log_function=lambda _: None))
        server.listen(port, "127.0.0.1")
        try:
            await running.job(id=job_id, outcome="success")
        finally:
            server.stop()
            await server.close_all_connections()
    assert seen == [b"patience"]


async def test_as_many_requests_at_once_as_there_are_slots(beanstalkd: Beanstalkd) -> None:
    everybody = asyncio.Event()

    async def wait(_: RequestHandler) -> None:
        if web.now == 30:
            everybody.set()
        await everybody.wait()

    async with (
        serving(wait) as web,
        Client.from_url(beanstalkd.url) as client,
        Running(settings(beanstalkd, "mail:30", options={"http": web.url})) as running,
    ):
        await client.put_many([b""] * 100, tube="mail")
        await running.job(count=100, outcome="success")
    assert (web.most, len(web.requests)) == (30, 100)


async def test_told_to_stop_now_it_releases_the_job(beanstalkd: Beanstalkd) -> None:
    async with (
        serving(lambda _: asyncio.sleep(3600)) as web,
        Client.from_url(beanstalkd.url) as client,
        Running(settings(beanstalkd, "mail", options={"http": web.url})) as running,
    ):
        job_id = await client.put(b"", tube="mail")
        await until(lambda: web.now == 1)
        running.runner.stop()
        running.runner.stop()
        await running.job(id=job_id, outcome="stopped", action="release:0")
        await running.end()
        assert (await client.stats_job(job_id))["state"] == "ready"


# --- requests that jobs describe -------------------------------------------------------------


def job(url: str, **said: Any) -> bytes:
    return json.dumps({"url": url, **said}).encode()


async def test_a_job_s_own_time_limit(beanstalkd: Beanstalkd) -> None:
    async with serving(lambda _: asyncio.sleep(3600)) as web:
        options = {"http_job": "yes", "allow": web.url}
        event = await one_job(beanstalkd, options, job(web.url, timeout_secs=0.3))
    assert (event["outcome"], event["action"]) == ("temporary-fail", "release:60")
    assert "timed out after 0.3 s" in event["error"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "not JSON"),
        (b"\xff\x00", "not JSON"),
        (b"[1]", "an array"),
        (job("http://127.0.0.1/x"), "under no URL"),
        (job("http://127.0.0.1:1/tasks/../x"), "holds no . or .."),
        (job("http://127.0.0.1:1/tasks/", headers={"Host": "x"}), "cannot set Host"),
        (job("http://127.0.0.1:1/tasks/", headers={"X": "a\r\nY: b"}), "printable"),
        (job("http://127.0.0.1:1/tasks/", http_method="BREW"), "BREW"),
    ],
)
async def test_a_job_that_asks_for_nonsense_is_buried(
    beanstalkd: Beanstalkd, body: bytes, error: str
) -> None:
    options = {"http_job": "yes", "allow": "http://127.0.0.1:1/tasks/"}
    event = await one_job(beanstalkd, options, body)
    assert (event["outcome"], event["state"]) == ("permanent-fail", "buried")
    assert error in event["error"]


@pytest.fixture
def app_example(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host's name that leads to this machine."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return lookup("127.0.0.1" if host == "app.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return "app.example"


def url_at(web: Web, host: str) -> str:
    return web.url.replace("127.0.0.1", host)


async def test_a_name_that_leads_inside_is_refused(
    beanstalkd: Beanstalkd, app_example: str
) -> None:
    async with serving() as web:
        url = url_at(web, app_example)
        options = {"http_job": "yes", "allow": url}
        event = await one_job(beanstalkd, options, job(url))
        assert (event["outcome"], event["state"]) == ("permanent-fail", "buried")
        assert "allow_private" in event["error"]
        assert web.requests == []
        event = await one_job(beanstalkd, {**options, "allow_private": app_example}, job(url))
        assert (event["outcome"], len(web.requests)) == ("success", 1)


# --- as a program ----------------------------------------------------------------------------


async def test_the_program_and_its_file(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    async with serving() as web, Client.from_url(beanstalkd.url) as client:
        (tmp_path / "worker.ini").write_text(
            f"""
[connection]
server = {beanstalkd.url}

[tube:mail]
http = {web.url}/mail
auth = bearer:{tmp_path}/token
compat = sqsd
workers = 2

[tube:any]
http_job = yes
allow =
    https://app.example.com/tasks/
    {url_at(web, "localhost")}/tasks
"""
        )
        await client.put(b'{"to": "ada"}', tube="mail")
        await client.put(job(url_at(web, "localhost") + "/tasks/7", body="x"), tube="any")
        outside = await client.put(job(web.url + "/tasks/7"), tube="any")
        command = ["work", "--config", "worker.ini", "--log-format", "json"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "beanstalkt.cmd", *command, cwd=tmp_path, stderr=-1
        )
        assert process.stderr
        events: list[dict[str, Any]] = []
        try:
            while len([event for event in events if event["event"] == "job"]) < 3:
                line = await process.stderr.readline()
                assert line, events
                events.append(json.loads(line))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert (await client.stats_job(outside))["state"] == "buried"
    seen = {request.path: request for request in web.requests}
    assert sorted(seen) == ["/mail", "/tasks/7"]
    assert seen["/mail"].headers["Authorization"] == "Bearer secret"
    assert seen["/mail"].headers["X-Aws-Sqsd-Queue"] == "mail"
    assert (seen["/mail"].body, seen["/tasks/7"].body) == (b'{"to": "ada"}', b"x")
    assert "secret" not in json.dumps(events)
