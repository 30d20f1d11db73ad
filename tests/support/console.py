"""A console for a test, and requests to it that no browser would send."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from beanstalkt.console import Console, Settings

NOWHERE = "beanstalk://127.0.0.1:1"
"""The URL of a server that is not there, for tests that need none."""

PASSWORD = "correct horse"
TOKEN = "a token of programs"


class Visitor:
    """Sends requests to a console, like a program or a hostile page."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.headers: dict[str, str] = {}
        self._client = AsyncHTTPClient(force_instance=True, max_clients=100)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.console.port}"

    async def ask(
        self, path: str, method: str = "GET", *, body: Any = None, **headers: str
    ) -> HTTPResponse:
        """The response, whatever its status. An underscore in a header stands for a hyphen."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given = {"Content-Type": "application/json", **given}
        request = HTTPRequest(
            self.origin + path,
            method,
            {**self.headers, **given},
            body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=20,
        )
        return await self._client.fetch(request, raise_error=False)

    async def get(self, path: str, **headers: str) -> Any:
        """The JSON of an answer, which must be a success."""
        response = await self.ask(path, **headers)
        assert response.code == 200, (path, response.code, response.body)
        return json.loads(response.body)

    async def post(self, path: str, body: Any, **headers: str) -> Any:
        response = await self.ask(path, "POST", body=body, **headers)
        assert response.code == 200, (path, response.code, response.body)
        return json.loads(response.body)

    async def arrive(self) -> None:
        """Do as the page does: take the token against forged requests."""
        self.headers["X-CSRF-Token"] = (await self.get("/api/session"))["csrf"]

    async def log_in(self, password: str = PASSWORD, who: str = "ann") -> HTTPResponse:
        response = await self.ask("/api/login", "POST", body={"password": password, "who": who})
        if response.code == 200:
            self.headers["Cookie"] = response.headers["Set-Cookie"].partition(";")[0]
            await self.arrive()
        return response

    def close(self) -> None:
        self._client.close()


@asynccontextmanager
async def visited(
    servers: dict[str, str] | None = None, **settings: Any
) -> AsyncIterator[Visitor]:
    """A console on a free port, and a visitor who has not asked anything yet."""
    console = Console(Settings(servers or {"main": NOWHERE}, port=0, **settings))
    console.start()
    visitor = Visitor(console)
    try:
        yield visitor
    finally:
        visitor.close()
        await console.stop()
