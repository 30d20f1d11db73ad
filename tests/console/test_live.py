"""What pages are told: soon, once for all tabs, and never more than they can take."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.clients import client_of
from tests.support.console import PASSWORD, Visitor, visited
from tests.support.embedded import AnyServer
from tests.support.waiting import soon, until_awaited

INTERVAL = 0.05


@asynccontextmanager
async def opened(visitor: Visitor) -> AsyncIterator[WebSocketClientConnection]:
    """A page, of which nothing is left in the end."""
    headers = {"Origin": visitor.origin, **visitor.headers}
    url = visitor.origin.replace("http", "ws") + "/api/live"
    page = await soon(websocket_connect(HTTPRequest(url, headers=headers)))
    try:
        yield page
    finally:
        was_closed = page.close_code is not None
        page.close()
        while not was_closed and await soon(page.read_message()) is not None:
            pass


async def tell(page: WebSocketClientConnection, *topics: str) -> None:
    await page.write_message(json.dumps({"topics": topics}))


async def message(page: WebSocketClientConnection, topic: str) -> dict[str, Any]:
    while True:
        text = await soon(page.read_message())
        assert text is not None, f"it was closed: {page.close_code} {page.close_reason}"
        found: dict[str, Any] = json.loads(text)
        if found["topic"] == topic:
            return found


async def told_to_go(page: WebSocketClientConnection) -> int | None:
    """The code with which the console closes a page."""
    while await soon(page.read_message()) is not None:
        pass
    return page.close_code


async def test_a_change_is_told_and_only_the_change(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url}, interval=INTERVAL) as visitor,
    ):
        await client.put(b"", tube="mail")
        await client.put(b"", tube="quiet")
        async with opened(visitor) as page:
            await tell(page, "server/main")
            first = await message(page, "server/main")
            while not first["data"]["rows"]:
                first = await message(page, "server/main")
            columns = (await visitor.get("/api/state?topic=server/main"))["messages"][0]["data"][
                "columns"
            ]
            await client.put(b"", tube="mail")
            while True:
                rows = (await message(page, "server/main"))["data"]["rows"]
                if rows.get("mail", [0])[columns.index("ready")] == 2:
                    break
            await client.delete(2)  # and with it the tube goes
            while "quiet" not in (await message(page, "server/main"))["data"].get("gone", ()):
                pass


async def test_a_tube_with_its_history_and_then_its_last_point(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url}, interval=INTERVAL) as visitor,
    ):
        await client.put(b"", tube="a/b")
        async with opened(visitor) as page:
            await tell(page, "tube/main/a/b")
            whole = await message(page, "tube/main/a/b")
            assert whole["full"]
            news = await message(page, "tube/main/a/b")
            while news["full"] or news["data"]["tube"] is None:
                news = await message(page, "tube/main/a/b")
            assert len(news["data"]["points"]["time"]) == 1
            assert news["data"]["tube"]["stats"]["name"] == "a/b"


async def test_fifty_tabs_cost_the_server_one_sampler(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url}, interval=INTERVAL) as visitor,
        AsyncExitStack() as stack,
    ):
        pages = [await stack.enter_async_context(opened(visitor)) for _ in range(50)]
        for page in pages:
            await tell(page, "servers", "server/main")
        for page in pages:
            await message(page, "server/main")
        assert (await client.stats())["current-connections"] == 2, "the sampler's, and ours"


async def test_a_server_that_goes_away_and_comes_back_is_told(apart: AnyServer) -> None:
    async with (
        visited({"main": apart.url}, interval=INTERVAL) as visitor,
        opened(visitor) as page,
    ):
        await tell(page, "servers")
        for up in (True, False, True):
            if up is False:
                apart.kill()
            elif apart.process is None:  # type: ignore[union-attr]
                apart.start()
            while (await message(page, "servers"))["data"]["servers"][0]["up"] is not up:
                pass


async def test_what_a_page_names_is_checked() -> None:
    async with visited() as visitor:
        for wrong in (
            "x",
            "[]",
            '{"topics": 5}',
            '{"topics": [5]}',
            json.dumps({"topics": ["servers"] * 11}),
            "[" * 30_000,
        ):
            async with opened(visitor) as page:
                await page.write_message(wrong)
                assert await told_to_go(page) == 1007
        async with opened(visitor) as page:
            await tell(
                page, "none", "server/none", "server/", "tube/main", "tube/main/", "servers"
            )
            await message(page, "servers")


async def test_a_page_is_told_no_more_when_its_session_ends() -> None:
    async with visited(password=PASSWORD, interval=INTERVAL) as visitor:
        await visitor.log_in()
        async with opened(visitor) as page:
            await tell(page, "servers")
            await message(page, "servers")
            await visitor.post("/api/logout", {})
            assert await told_to_go(page) == 1008


async def test_a_page_that_does_not_read_delays_nobody(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url}, interval=INTERVAL) as visitor,
    ):
        for number in range(300):
            await client.put(b"", tube=f"tube-{number:03}-{'x' * 150}")
        slow = socket.create_connection(("127.0.0.1", visitor.console.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(
            b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        text = b'{"topics":["server/main"]}'
        slow.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        async with opened(visitor) as page:
            await tell(page, "server/main")
            for number in range(20):
                await client.put(b"", tube=f"new-{number}")
                while f"new-{number}" not in (await message(page, "server/main"))["data"]["rows"]:
                    pass
            slow.close()


async def test_the_same_is_told_to_those_who_ask(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url}, interval=INTERVAL) as visitor,
    ):
        await client.put(b"", tube="mail")

        async def told() -> bool:
            found = await visitor.get("/api/state?topic=servers&topic=server/main&topic=none")
            first, second = found["messages"]
            return first["data"]["servers"][0]["up"] and "mail" in second["data"]["rows"]

        await until_awaited(told)
        many = "&".join(["topic=servers"] * 11)
        assert (await visitor.ask(f"/api/state?{many}")).code == 400
