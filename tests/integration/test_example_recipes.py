"""The recipes in examples/ for web frameworks: a request puts a job, or says why not."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer

import beanstalkt
from beanstalkt.blocking import Client

from ..support.beanstalkd import Beanstalkd, free_port

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

Post = Callable[[str], Awaitable[tuple[int, dict[str, Any]]]]
"""Signs a member up, by name; returns the status and what was answered."""


def load(name: str) -> ModuleType:
    """The module of a recipe, fresh for the test."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def of_flask() -> AsyncIterator[Post]:
    pytest.importorskip("flask")
    app = load("flask_app").create_app()

    async def post(name: str) -> tuple[int, dict[str, Any]]:
        answer = app.test_client().post("/signup", data={"name": name})
        return answer.status_code, answer.get_json()

    yield post


@asynccontextmanager
async def of_fastapi() -> AsyncIterator[Post]:
    pytest.importorskip("fastapi")
    app = load("fastapi_app").app

    async def post(name: str) -> tuple[int, dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/signup",
            "query_string": f"name={name}".encode(),
            "headers": [],
        }
        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async with app.router.lifespan_context(app):
        yield post


@asynccontextmanager
async def of_aiohttp() -> AsyncIterator[Post]:
    pytest.importorskip("aiohttp")
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(load("aiohttp_app").create_app())) as client:
        async with client.post("/signup", data={"nick": "ada"}) as answer:
            assert answer.status == 400

        async def post(name: str) -> tuple[int, dict[str, Any]]:
            async with client.post("/signup", data={"name": name}) as answer:
                return answer.status, await answer.json()

        yield post


@asynccontextmanager
async def of_tornado() -> AsyncIterator[Post]:
    module = load("tornado_app")
    port = free_port()
    listening: list[HTTPServer] = []
    make = module.create_app

    class Here:
        """The application on a free port."""

        def __init__(self, client: beanstalkt.Client) -> None:
            self.app = make(client)

        def listen(self, _: int) -> HTTPServer:
            listening.append(self.app.listen(port, "127.0.0.1"))
            return listening[0]

    vars(module)["create_app"] = Here
    running = asyncio.ensure_future(module.main())
    while not listening:
        assert not running.done()
        await asyncio.sleep(0.01)

    async def post(name: str) -> tuple[int, dict[str, Any]]:
        answer = await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{port}/signup",
            method="POST",
            body=f"name={name}",
            raise_error=False,
        )
        return answer.code, json.loads(answer.body)

    yield post
    os.kill(os.getpid(), signal.SIGTERM)  # it ends in order, and main() returns
    await asyncio.wait_for(running, 30)


recipes = pytest.mark.parametrize("recipe", [of_flask, of_fastapi, of_aiohttp, of_tornado])


@recipes
async def test_a_request_puts_a_job_or_says_why_not(
    recipe: Any, beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", beanstalkd.url)
    async with recipe() as post:
        for number in (1, 2):
            assert await post("ada") == (202, {"job": number})
        with Client.from_url(beanstalkd.url) as client:
            job = client.peek_ready(tube="mail")
            assert json.loads(job.body) == {"welcome": "ada"}
        beanstalkd.kill()
        answers = [await post("bob") for _ in range(3)]  # the loss may show with the first
        assert answers[-1][0] == 503
        assert "error" in answers[-1][1]
        beanstalkd.start()
        while (await post("eve"))[0] != 202:
            await asyncio.sleep(0.05)


def test_the_threads_of_flask_share_one_connection(
    beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flask")
    app = load("flask_app").create_app(beanstalkd.url)

    def post() -> None:
        assert app.test_client().post("/signup", data={"name": "ada"}).status_code == 202

    with Client.from_url(beanstalkd.url) as client:
        before = client.stats()["total-connections"]
        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        stats = client.stats()
        assert (stats["total-jobs"], stats["total-connections"]) == (8, before + 1)
