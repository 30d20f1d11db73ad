"""Each rule that keeps the console safe, by trying to break it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from beanstalkt.console.application import API
from tests.support.console import PASSWORD, TOKEN, visited
from tests.support.waiting import soon

PATHS = [
    *(path.replace("([^/]+)", "main").replace("([0-9]+)", "1") for path in API),
    *("/", "/server/main", "/static/main.js", "/static/none.js", "/metrics", "/healthz"),
    *("/api/none", "/%2e%2e/", "/static/../settings.py", "/api"),
]
"""A path of every route, and of none."""

EVIL = "http://evil.example"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "[::2]"]
)
async def test_another_host_is_refused_on_every_route(host: str) -> None:
    """A site may have its own name resolve to this machine."""
    async with visited() as visitor:
        for path in PATHS:
            for method in ("GET", "POST"):
                response = await visitor.ask(path, method, Host=host)
                # 400: Tornado itself refuses what cannot be a host.
                assert response.code in (400, 421), path
                assert b"<html lang" not in response.body


async def test_the_usual_names_and_an_allowed_one_are_not() -> None:
    async with visited(allowed_hosts=("Queue.Example",)) as visitor:
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8", "queue.example:443"):
            assert (await visitor.ask("/", Host=host)).code == 200


async def test_two_hosts_are_refused() -> None:
    async with visited() as visitor:
        reader, writer = await asyncio.open_connection("127.0.0.1", visitor.console.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        line = await reader.readline()
        assert line.split()[1] in (b"400", b"421")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # another port
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
async def test_another_site_changes_nothing(headers: dict[str, str]) -> None:
    """Not even with the token against forged requests, which it cannot have."""
    async with visited() as visitor:
        await visitor.arrive()
        for path in PATHS:
            response = await visitor.ask(path, "POST", body={}, **headers)
            assert response.code == 403, path


async def test_another_site_reads_nothing_but_may_link_to_a_page() -> None:
    async with visited() as visitor:
        for path in PATHS:
            response = await visitor.ask(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
            assert response.code == 403, path
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await visitor.ask("/server/main", **link)).code == 200


async def test_nothing_is_posted_without_the_token_against_forged_requests() -> None:
    async with visited() as visitor:
        for path in set(PATHS) - {"/api/login"}:
            for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x" * 43}):
                response = await visitor.ask(path, "POST", body={}, **headers)
                assert response.code == 403, path
                assert b"X-CSRF-Token" in response.body


async def test_nothing_but_the_page_is_seen_without_a_login() -> None:
    async with visited(password=PASSWORD) as visitor:
        for path in [*API, "/metrics", "/api/none"]:
            open_ones = ("/api/session", "/api/login", "/api/logout")
            expected = {401} if path not in open_ones else {200, 405}
            response = await visitor.ask(path.replace("([^/]+)", "main").replace("([0-9]+)", "1"))
            assert response.code in expected, path
        told = await visitor.get("/api/session")
        assert told == {"login": True, "password": True}
        assert (await visitor.log_in()).code == 200
        assert (await visitor.get("/api/session"))["who"] == "ann"
        await visitor.post("/api/logout", {})
        assert (await visitor.get("/api/session"))["login"]


async def test_a_session_does_not_end_up_where_a_script_or_another_site_finds_it() -> None:
    async with visited(password=PASSWORD) as visitor:
        cookie = (await visitor.log_in()).headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_the_token_of_a_session_is_worth_nothing_in_another() -> None:
    async with visited(password=PASSWORD) as visitor:
        await visitor.log_in()
        csrf = visitor.headers.pop("X-CSRF-Token")
        await visitor.log_in()
        other = visitor.headers["X-CSRF-Token"]
        assert other != csrf
        assert (await visitor.ask("/api/logout", "POST", body={}, X_CSRF_Token=csrf)).code == 403


async def test_a_program_with_the_token_needs_no_session() -> None:
    async with visited(token=TOKEN) as visitor:
        right, wrong = f"Bearer {TOKEN}", f"Bearer {TOKEN}x"
        assert (await visitor.get("/api/session", Authorization=right))["who"] == "token"
        for given in (wrong, TOKEN, "Bearer", "Basic eDp5", "Bearer \xff"):
            assert (await visitor.ask("/api/session", Authorization=given)).code == 401
        # Nobody can log in with a password that was never set.
        response = await visitor.ask("/api/login", "POST", body={"password": ""})
        assert response.code == 403


async def test_a_thousand_wrong_passwords_are_slowed_down() -> None:
    async with visited(password=PASSWORD) as visitor:
        codes = []
        for _ in range(1000 // 50):
            wave = (visitor.log_in("wrong") for _ in range(50))
            codes += [response.code for response in await asyncio.gather(*wave)]
        # The first five are free; after that there is one more at each wait's end at most.
        assert codes.count(403) <= 10
        assert codes.count(429) == 1000 - codes.count(403)
        # With wrong ones before it, the first of which begins another wait if one has just ended.
        wave = (visitor.log_in("wrong") for _ in range(50))
        *_, refused = await asyncio.gather(*wave, visitor.log_in())
        assert refused.code == 429, "the right one must wait too, or trying would pay"
        assert int(refused.headers["Retry-After"]) >= 1


async def test_read_only_refuses_every_route() -> None:
    async with visited(read_only=True) as visitor:
        await visitor.arrive()
        for path in PATHS:
            if path in ("/api/login", "/api/logout"):
                continue
            for method in ("POST", "PUT", "DELETE", "PATCH", "BREW"):
                response = await visitor.ask(path, method, body={})
                assert response.code in (403, 405), path
                if response.code == 403:
                    assert b"read-only" in response.body


async def test_every_response_carries_the_headers_that_keep_a_page_safe() -> None:
    async with visited(password=PASSWORD) as visitor:
        for path in PATHS:
            for host in ("localhost", "evil.example"):
                response = await visitor.ask(path, Host=host)
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy, path
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert "Server" not in response.headers
                assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", [EVIL, "null", None])
async def test_a_websocket_from_elsewhere_is_refused(origin: str | None) -> None:
    async with visited() as visitor:
        headers = {"Origin": origin} if origin else {}
        url = f"ws://127.0.0.1:{visitor.console.port}/api/live"
        with pytest.raises(Exception, match="403"):
            await websocket_connect(HTTPRequest(url, headers=headers))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"password": 7}', "application/json", 400),
        (b'{"password": "x"}', "text/plain", 415),
        (b"password=x", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_body_that_is_not_what_it_should_be(body: bytes, kind: str, status: int) -> None:
    async with visited(password=PASSWORD) as visitor:
        response = await visitor.ask("/api/login", "POST", body=body, Content_Type=kind)
        assert response.code == status
        assert b"error" in response.body


async def test_a_body_that_is_too_large_is_not_read() -> None:
    async with visited() as visitor:
        reader, writer = await asyncio.open_connection("127.0.0.1", visitor.console.port)
        writer.write(
            b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
        )
        assert (await soon(reader.readline())).split()[1] in (b"400", b"413")
        writer.close()
        await writer.wait_closed()


async def test_a_slow_visitor_keeps_nobody_waiting() -> None:
    async with visited() as visitor:
        slow = socket.create_connection(("127.0.0.1", visitor.console.port))
        slow.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n")
        assert (await visitor.ask("/")).code == 200
        slow.close()


async def test_static_files_are_only_those_of_the_console() -> None:
    async with visited() as visitor:
        for path in (
            "/static/../settings.py",
            "/static/%2e%2e/settings.py",
            "/static//etc/passwd",
        ):
            response = await visitor.ask(path)
            assert b"dataclass" not in response.body
            assert b"root:" not in response.body
