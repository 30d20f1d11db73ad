"""Watches runners that serve their metrics, for as long as a page shows them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

TIMEOUT = 3.0
"""Seconds that a runner may take to answer."""

MAX_STATUS = 4 << 20
"""Bytes of a runner's answer at most."""


class Runners:
    """The runners of a console.

    :param urls: the address of each runner's metrics, by name
    :param servers: the URL of each server, by the name that the console calls it
    :param interval: seconds between two questions
    :param wanted: returns whether any page shows them
    :param changed: is called when there is news
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        servers: Mapping[str, str],
        interval: float,
        *,
        wanted: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._urls = urls
        # A runner calls a server by its name, or by its URL if it was given none.
        self._names = {url: name for name, url in servers.items()} | {n: n for n in servers}
        self._interval = interval
        self._wanted = wanted
        self._changed = changed
        self._found: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None

    def state(self) -> dict[str, Any]:
        """Return what was found last."""
        return {"runners": self._found}

    def start(self) -> None:
        """Begin to look whether anybody wants to know."""
        if self._urls:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        client = AsyncHTTPClient(force_instance=True, defaults={"max_body_size": MAX_STATUS})
        try:
            while True:
                if self._wanted() or not self._found:
                    self._found = list(
                        await asyncio.gather(
                            *(self._ask(client, name, url) for name, url in self._urls.items())
                        )
                    )
                    self._changed()
                await asyncio.sleep(self._interval)
        finally:
            client.close()

    async def _ask(self, client: AsyncHTTPClient, name: str, url: str) -> dict[str, Any]:
        found: dict[str, Any] = {"name": name, "url": url, "names": self._names, "status": None}
        try:
            response = await client.fetch(
                url.rstrip("/") + "/status", request_timeout=TIMEOUT, follow_redirects=False
            )
            found["status"] = json.loads(response.body)
        except (OSError, ValueError, HTTPClientError) as error:
            found["error"] = f"{url} did not answer as a runner does: {error}"
        return found
