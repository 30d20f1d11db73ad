"""A console behind a proxy, which may be one of many things behind the same name."""

from __future__ import annotations

from typing import Any

import pytest

from beanstalkt.console import Settings, proxies
from beanstalkt.errors import InvalidArgument
from tests.support.console import NOWHERE, PASSWORD, visited

BEHIND: dict[str, Any] = {"prefix": "/tools/queues", "password": PASSWORD}


@pytest.mark.parametrize(
    "path", ["/tools/queues", "/tools/queues/", "/tools/queues/server/main", "/"]
)
async def test_the_page_names_its_files_below_the_prefix(path: str) -> None:
    async with visited(**BEHIND) as visitor:
        page = (await visitor.ask(path)).body.decode()
        assert '"/tools/queues/static/main.js"' in page
        assert '"/static/' not in page
        assert visitor.console.url.endswith("/tools/queues/")


@pytest.mark.parametrize("before", ["/tools/queues", ""], ids=["as it came", "taken off"])
async def test_every_route_is_below_the_prefix_and_behind_the_gate(before: str) -> None:
    async with visited(**BEHIND) as visitor:
        for path in ("/static/main.js", "/healthz", "/api/session"):
            assert (await visitor.ask(before + path)).code == 200
        for path in ("/api/state", "/metrics"):
            assert (await visitor.ask(before + path)).code == 401
        assert (await visitor.ask(f"{before}/api/none")).code in (401, 404)


async def test_a_path_that_only_begins_like_the_prefix_is_the_page() -> None:
    async with visited(**BEHIND) as visitor:
        assert b"<html" in (await visitor.ask("/tools/queues-of-others/api/session")).body


async def test_a_session_is_for_the_prefix_and_secure_where_the_browser_uses_tls() -> None:
    async with visited(**BEHIND, allowed_hosts=("queue.example",)) as visitor:
        plain = (await visitor.log_in()).headers["Set-Cookie"]
        assert "Path=/tools/queues/" in plain
        assert "Secure" not in plain
        visitor.headers = {"Host": "queue.example", "Origin": "https://queue.example"}
        assert "Secure" in (await visitor.log_in()).headers["Set-Cookie"]
        gone = await visitor.ask("/tools/queues/api/logout", "POST", body={})
        assert "Path=/tools/queues/" in gone.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ((), "192.0.2.7", "127.0.0.1"),
        (("192.0.2.1",), "192.0.2.7", "127.0.0.1"),
        (("127.0.0.1",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.1",), "192.0.2.66, 192.0.2.7", "192.0.2.7"),
        (("127.0.0.1", "192.0.2.1"), "192.0.2.66, 2001:db8::7, 192.0.2.1", "2001:db8::7"),
        (("127.0.0.1",), "", "127.0.0.1"),
        (("127.0.0.1",), "192.0.2.7, nobody", "127.0.0.1"),
    ],
)
def test_the_address_of_a_visitor_is_what_a_trusted_proxy_saw(
    trusted: tuple[str, ...], forwarded: str, expected: str
) -> None:
    assert proxies.visitor("127.0.0.1", forwarded, trusted) == expected


async def test_wrong_passwords_slow_down_the_visitor_and_not_the_proxy() -> None:
    async with visited(trusted_proxies=("127.0.0.1",), password=PASSWORD) as visitor:
        wrong = {"password": "x"}
        for _ in range(7):
            last = await visitor.ask("/api/login", "POST", body=wrong, X_Forwarded_For="192.0.2.7")
        assert last.code == 429
        other = await visitor.ask("/api/login", "POST", body=wrong, X_Forwarded_For="192.0.2.8")
        assert other.code == 403


@pytest.mark.parametrize(
    "values",
    [
        *(
            {"prefix": text}
            for text in ("queues", "/", "/queues/", "/a//b", "/a/../b", "/a b", '/"')
        ),
        *({"trusted_proxies": (text,)} for text in ("proxy.example", "", "10.0.0.0/8")),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"prefix|proxy"):
        Settings({"main": NOWHERE}, **values)
