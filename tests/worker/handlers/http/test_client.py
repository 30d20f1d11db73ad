"""Where names may lead: the address that is checked is the one that is connected to."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from beanstalkt.worker.handlers.http import client as http_client
from beanstalkt.worker.handlers.http.client import (
    CheckedResolver,
    HTTPClient,
    Refused,
    Unreachable,
)
from beanstalkt.worker.handlers.http.request import HTTPRequest
from beanstalkt.worker.handlers.http.url import HTTPURL

from ....support.webserver import Web, serving


class Names(AbstractResolver):
    """A resolver that is told what to say, one answer after another; the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in answer
        ]

    async def close(self) -> None: ...


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[Names]:
    """The resolver that the next client has beneath its own."""
    chosen: list[Names] = []
    monkeypatch.setattr(aiohttp, "ThreadedResolver", lambda: chosen[0])
    return chosen


def at(web: Web, host: str) -> HTTPRequest:
    return HTTPRequest("POST", HTTPURL.parse(web.url.replace("127.0.0.1", host)), timeout=5)


async def send(client: HTTPClient, request: HTTPRequest) -> Any:
    try:
        return await client.send(request, {})
    finally:
        await client.close()


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["0.0.0.0"]],
)
async def test_a_name_that_leads_inside_is_refused(names: list[Names], answer: list[str]) -> None:
    names.append(Names(answer))
    async with serving() as web:
        with pytest.raises(Refused, match=r"app\.example is .*allow_private"):
            await send(HTTPClient([]), at(web, "app.example"))
        assert web.requests == []


async def test_one_bad_address_among_good_ones_is_enough() -> None:
    names = Names(["8.8.8.8", "127.0.0.1"])
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        await CheckedResolver(names, []).resolve("app.example", 80)


async def test_a_public_name_is_not_refused() -> None:
    found = await CheckedResolver(Names(["8.8.8.8", "2606:4700::1"]), []).resolve("a.example", 80)
    assert [result["host"] for result in found] == ["8.8.8.8", "2606:4700::1"]


async def test_a_host_that_is_allowed_by_name_may_be_anywhere(names: list[Names]) -> None:
    names.append(Names(["127.0.0.1"]))
    async with serving() as web:
        answer = await send(HTTPClient(["app.example"]), at(web, "app.example"))
        assert answer.status == 200
        assert web.requests[0].host_name == "app.example"


async def test_where_the_configuration_names_the_url_no_address_is_refused(
    names: list[Names],
) -> None:
    names.append(Names(["127.0.0.1"]))
    async with serving() as web:
        assert (await send(HTTPClient(None), at(web, "app.example"))).status == 200


async def test_a_name_that_changes_its_address_gets_nowhere(
    names: list[Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First to where it may, then inside: there is no look apart from the connection's own."""
    monkeypatch.setattr(http_client, "is_public", lambda address: address == "127.0.0.2")
    names.append(Names(["127.0.0.2"], ["127.0.0.1"]))
    client = HTTPClient([])
    async with serving() as web:
        try:
            # Nobody listens there; but there it goes.
            with pytest.raises(Unreachable, match=r"127\.0\.0\.2"):
                await client.send(HTTPRequest("POST", HTTPURL.parse("http://app.example:1/")), {})
            with pytest.raises(Refused, match=r"127\.0\.0\.1"):
                await client.send(at(web, "app.example"), {})
        finally:
            await client.close()
        assert web.requests == []
        assert len(names[0].asked) == 2


async def test_a_name_is_looked_up_by_the_connection_alone(names: list[Names]) -> None:
    names.append(Names(["127.0.0.1"], ["10.0.0.1"]))
    async with serving() as web:
        assert (await send(HTTPClient(["a.example"]), at(web, "a.example"))).status == 200
    assert names[0].asked == ["a.example"]
