"""The job browser against a server: what is listed, what is refused, and nothing that moves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from beanstalkt import Client
from tests.support.clients import client_of
from tests.support.console import NOWHERE, Visitor, visited
from tests.support.embedded import AnyServer
from tests.support.waiting import soon, until_awaited

MARKUP = b'<img src=x onerror="alert(1)"></td><script>alert(2)</script>'


async def listed(visitor: Visitor, query: str = "") -> list[dict[str, Any]]:
    response = await visitor.ask(f"/api/servers/main/jobs?{query}")
    assert response.code == 200, response.body
    return [json.loads(line) for line in response.body.splitlines()]


async def ids(visitor: Visitor, query: str = "") -> list[int]:
    return [line["job"]["id"] for line in await listed(visitor, query) if "job" in line]


async def fill(client: Client) -> None:
    """Jobs 1 to 5: ready, ready and urgent, delayed, buried, reserved."""
    await client.put(b"first", tube="mail")
    await client.put(b"\xff second", 5, tube="mail")
    await client.put(MARKUP, delay=1000, tube="mail")
    await client.put(b"fourth", tube="other")
    await client.put(b"fifth", tube="other")
    await client.bury(await client.reserve_job(4))
    await client.reserve_job(5)


async def test_jobs_of_every_state_are_found_by_filter_and_stay_where_they_are(
    server: AnyServer,
) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        before = [await client.stats_job(number) for number in range(1, 6)]
        assert await ids(visitor) == [1, 2, 3, 4, 5]
        for query, expected in {
            "tube=mail": [1, 2, 3],
            "state=buried": [4],
            "state=reserved,delayed": [3, 5],
            "text=onerror": [3],
            "text=%F0%9F%A4%B7": [],
            "pattern=f[io]": [1, 4, 5],
            "max_priority=5": [2],
            "since_id=2&until_id=3": [2, 3],
            "min_age=100": [],
            "limit=2": [1, 2],
            "tube=none": [],
        }.items():
            assert await ids(visitor, query) == expected, query
        assert [await client.stats_job(number) for number in range(1, 6)] == [
            {**each, "age": after["age"], "time-left": after["time-left"]}
            for each, after in zip(
                before, [await client.stats_job(n) for n in range(1, 6)], strict=True
            )
        ]


async def test_a_pattern_that_takes_too_long_ends_its_search_and_holds_up_no_other(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanstalkt.admin.pattern_search.LIMIT", 0.5)
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await client.put(b"a" * 60 + b"!")
        slow = asyncio.ensure_future(listed(visitor, "pattern=^(a%7Caa)%2B$"))
        while not slow.done():
            assert await ids(visitor, "text=!") == [1]
        assert "takes longer than 0.5 s in the body of job 1" in (await slow)[-1]["error"]


async def test_the_end_says_what_was_looked_at(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        end = (await listed(visitor))[-1]["end"]
        assert (end["complete"], end["matched"]) == (True, 5)
        end = (await listed(visitor, "limit=2"))[-1]["end"]
        assert (end["complete"], end["matched"]) == (False, 2)


@pytest.mark.parametrize(
    "query",
    [
        "tube=%3Cscript%3E",
        "tube=" + "x" * 201,
        "state=ready,eaten",
        "pattern=(",
        "pattern=" + "a" * 201,
        "min_age=-1",
        "min_age=1e9",
        "since_id=9&until_id=2",
        "until_id=99999999999999999999999",
        "limit=x",
        "colour=red",
        "max_priority=4294967296",
        "text=%ff%fe",
    ],
)
async def test_a_wrong_filter_is_told_and_nothing_is_asked(query: str) -> None:
    async with visited() as visitor:
        response = await visitor.ask(f"/api/servers/main/jobs?{query}")
        assert response.code == 400, response.body
        assert "error" in json.loads(response.body)


async def test_one_job_with_its_views_and_its_body_as_it_is(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        found = await visitor.get("/api/servers/main/jobs/3")
        assert found["job"]["state"] == "delayed"
        assert {"name": "text", "text": MARKUP.decode()} in found["views"]
        response = await visitor.ask("/api/servers/main/jobs/3/body")
        assert response.body == MARKUP
        # A browser must neither show it as a page nor guess what it is.
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert (await visitor.ask("/api/servers/main/jobs/99")).code == 404


async def test_a_job_of_sixty_kilobytes_of_control_characters(server: AnyServer) -> None:
    body = b"\x1b]0;x\x07\x00" * 10_000
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await client.put(body[:60_000])
        raw = (await visitor.ask("/api/servers/main/jobs/1")).body
        assert b"\x1b" not in raw
        assert b"\\u001b" not in raw
        (row, *_) = (line["job"] for line in await listed(visitor) if "job" in line)
        assert (row["size"], len(row["preview"])) == (60_000, 200)


@pytest.mark.parametrize("name", ["other", "127.0.0.1:11300", "main%2F..", "%00", "beanstalk:"])
async def test_a_server_that_is_not_configured_cannot_be_named(name: str) -> None:
    async with visited() as visitor:
        await visitor.arrive()
        for rest in ("jobs", "jobs/1", "jobs/1/body", "export"):
            assert (await visitor.ask(f"/api/servers/{name}/{rest}")).code == 404
        for rest in ("put", "actions"):
            response = await visitor.ask(f"/api/servers/{name}/{rest}", "POST", body={})
            assert response.code == 404


async def test_a_server_that_is_away_is_told() -> None:
    async with visited() as visitor:
        response = await visitor.ask("/api/servers/main/jobs")
        assert response.code == 502
        assert "127.0.0.1:1" in json.loads(response.body)["error"]


async def test_a_search_ends_when_its_browser_goes_away(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await client.put_many([b"x" * 60_000] * 300)

        async def connections() -> int:
            return int((await client.stats())["current-connections"])

        before = await connections()
        reader, writer = await asyncio.open_connection("127.0.0.1", visitor.console.port)
        writer.write(b"GET /api/servers/main/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await soon(reader.readuntil(b"\r\n\r\n"))

        async def begun() -> bool:
            return await connections() > before

        async def ended() -> bool:
            return await connections() == before

        await until_awaited(begun)
        # It does not read on: the console must neither take all into memory nor wait for ever.
        writer.close()
        await writer.wait_closed()
        await until_awaited(ended)


async def test_too_many_searches_are_refused(apart: AnyServer) -> None:
    async with visited({"main": apart.url}) as visitor:
        apart.freeze()
        waiting = [asyncio.ensure_future(visitor.ask("/api/servers/main/jobs")) for _ in range(9)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().code for task in done] == [429]
        apart.thaw()
        codes = [response.code for response in await asyncio.gather(*waiting)]
        assert sorted(codes) == [200] * 8 + [429]


async def test_an_export_can_be_imported_again(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        exported = (await visitor.ask("/api/servers/main/export?tube=mail")).body
        assert len(exported.splitlines()) == 3
        for number in (1, 2, 3):
            await client.delete(number)
        await visitor.arrive()
        begun = await visitor.ask(
            "/api/servers/main/import",
            "POST",
            body=exported + b"garbage\n",
            Content_Type="application/x-ndjson",
        )
        number = json.loads(begun.body)["id"]

        async def ended() -> bool:
            return bool((await visitor.get(f"/api/actions/{number}"))["state"] != "running")

        await until_awaited(ended)
        summary = (await visitor.get(f"/api/actions/{number}"))["summary"]
        assert (summary["done"], summary["failed"]) == (3, 1)
        assert [
            line["job"]["state"] for line in await listed(visitor, "tube=mail") if "job" in line
        ] == [
            "ready",
            "ready",
            "delayed",
        ]


async def test_with_several_servers_the_lines_of_an_export_name_theirs(server: AnyServer) -> None:
    async with (
        client_of(server) as client,
        visited({"main": server.url, "lost": NOWHERE}) as visitor,
    ):
        await client.put("x", tube="mail")
        exported = (await visitor.ask("/api/servers/main/export?tube=mail")).body
        assert json.loads(exported)["server"] == "main"
