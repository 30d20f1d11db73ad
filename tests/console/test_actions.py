"""What the console changes: counted before, as asked, noted, and never by accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import Client
from tests.support.clients import client_of
from tests.support.console import PASSWORD, Visitor, visited
from tests.support.embedded import AnyServer, Embedded
from tests.support.waiting import until_awaited


async def begin(visitor: Visitor, verb: str, target: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = await visitor.post(
        "/api/servers/main/actions", {"verb": verb, "filter": target, **more}
    )
    return found


async def end(visitor: Visitor, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def ended() -> bool:
        nonlocal found
        found = await visitor.get(f"/api/actions/{number}")
        return bool(found["state"] != "running")

    await until_awaited(ended)
    return found


async def act(visitor: Visitor, verb: str, target: Any, **more: Any) -> dict[str, Any]:
    return await end(visitor, (await begin(visitor, verb, target, **more))["id"])


async def counts(client: Client, tube: str) -> tuple[int, ...]:
    stats: Any = await client.stats_tube(tube)
    return tuple(
        stats[f"current-jobs-{state}"] for state in ("ready", "reserved", "delayed", "buried")
    )


async def fill(client: Client) -> None:
    """Jobs 1 to 6 of the tube mail: 2 ready, 1 reserved, 1 delayed, 2 buried."""
    for number in range(6):
        await client.put(b"body %d" % number, delay=1000 if number == 3 else 0, tube="mail")
    await client.reserve_job(3)
    await client.bury(await client.reserve_job(5))
    await client.bury(await client.reserve_job(6))


async def test_an_action_is_counted_first_and_then_done(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        await visitor.arrive()
        for verb, target, number, after in (
            ("kick", {"tube": "mail", "state": ["buried"]}, 2, (4, 1, 1, 0)),
            ("bury", {"tube": "mail", "text": "body 0"}, 1, (3, 1, 1, 1)),
            ("delete", {"tube": "mail", "state": ["buried"]}, 1, (3, 1, 1, 0)),
            ("clear", {"tube": "mail"}, 4, (0, 1, 0, 0)),
        ):
            before = await counts(client, "mail")
            tried = await act(visitor, verb, target, dry_run=True)
            assert (tried["summary"]["done"], tried["dry_run"]) == (number, True)
            assert await counts(client, "mail") == before, "it only counts"
            done = await act(visitor, verb, target)
            assert (done["state"], done["summary"]["done"]) == ("done", number), verb
            assert await counts(client, "mail") == after, verb
        assert tried["summary"]["skipped"] == {"reserved by a worker": 1}


async def test_jobs_are_moved_and_copied_also_to_another_server(server: AnyServer) -> None:
    other = Embedded()
    other.start()
    async with (
        client_of(server) as client,
        client_of(other) as there,
        visited({"main": server.url, "other": other.url}) as visitor,
    ):
        await fill(client)
        await visitor.arrive()
        for verb, target, options, number in (
            ("copy", {"tube": "mail", "state": ["buried"]}, {"to_tube": "kept"}, 2),
            ("move", {"tube": "mail"}, {"to_tube": "mail", "to_server": "other"}, 5),
        ):
            tried = await act(visitor, verb, target, dry_run=True)
            assert tried["summary"]["done"] == number
            done = await act(visitor, verb, target, options=options)
            assert (done["state"], done["summary"]["done"]) == ("done", number), done
        assert await counts(client, "kept") == (0, 0, 0, 2)
        assert await counts(client, "mail") == (0, 1, 0, 0)
        assert await counts(there, "mail") == (2, 0, 1, 2)
        assert "beanstalkt.elsewhere" not in await client.list_tubes()
        same = await act(visitor, "move", {"tube": "kept"}, options={"to_tube": "kept"})
        assert same["state"] == "failed"
        assert await counts(client, "kept") == (0, 0, 0, 2)
        for wrong in ({"to_server": "none"}, {"to_tube": 5}, {"to_server": ["main"]}):
            body = {"verb": "move", "filter": {}, "options": wrong}
            response = await visitor.ask("/api/servers/main/actions", "POST", body=body)
            assert response.code in (400, 404)
    other.stop()


async def test_a_tube_is_paused_and_resumed(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await client.put(b"", tube="mail")
        await visitor.arrive()
        await act(visitor, "pause", {"tube": "mail"}, options={"seconds": 500})
        assert (await client.stats_tube("mail"))["pause"] == 500
        await act(visitor, "resume", {"tube": "mail"})
        assert (await client.stats_tube("mail"))["pause"] == 0
        assert (await act(visitor, "pause", {"tube": "none"}))["state"] == "failed"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"verb": "explode"}, "no such action"),
        ({"verb": ["delete"]}, "no such action"),
        ({"verb": "import"}, "no such action"),
        ({}, "no such action"),
        ({"verb": "delete", "filter": "all"}, "must be an object"),
        ({"verb": "delete", "filter": {"tubes": "mail"}}, "no field 'tubes'"),
        ({"verb": "delete", "filter": {"tube": ["mail"]}}, "tube must be text"),
        ({"verb": "delete", "filter": {"tube": "<b>"}}, "tube"),
        ({"verb": "delete", "filter": {"min_age": True}}, "whole number"),
        ({"verb": "delete", "filter": {"state": [1]}}, "list of names"),
        ({"verb": "delete", "options": {"to_tube": "x"}}, "no such option"),
        ({"verb": "pause", "filter": {}}, "name of a tube"),
        ({"verb": "pause", "filter": {"tube": "a"}, "options": {"seconds": "1"}}, "whole number"),
        ({"verb": "pause", "filter": {"tube": "a"}, "options": {"seconds": -1}}, "delay"),
        ({"verb": "pause", "filter": {"tube": "a"}, "dry_run": True}, "about no jobs"),
        ({"verb": "pause", "filter": {"tube": "a"}, "options": 5}, "must be an object"),
    ],
)
async def test_a_wrong_action_is_refused_before_anything_is_sent(
    body: dict[str, Any], told: str
) -> None:
    async with visited() as visitor:
        await visitor.arrive()
        response = await visitor.ask("/api/servers/main/actions", "POST", body=body)
        assert response.code == 400
        assert told in json.loads(response.body)["error"]


async def test_nothing_is_changed_by_get(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await fill(client)
        before = await client.stats()
        for path in (
            "/api/servers/main/actions?verb=clear&filter=",
            "/api/servers/main/actions",
            "/api/servers/main/put?tube=x&body=y",
            "/api/servers/main/import",
            "/api/actions/1/cancel",
            "/api/logout",
        ):
            for method in ("GET", "HEAD"):
                assert (await visitor.ask(path, method)).code in (404, 405), path
        after = await client.stats()
        for key in ("cmd-put", "cmd-delete", "cmd-kick", "cmd-bury", "cmd-reserve", "total-jobs"):
            assert after[key] == before[key]


async def test_who_did_what_is_in_the_log_also_in_the_file(
    server: AnyServer, tmp_path: Path
) -> None:
    file = tmp_path / "actions.jsonl"
    async with client_of(server) as client:
        async with visited(
            {"main": server.url}, password=PASSWORD, action_log=str(file)
        ) as visitor:
            await fill(client)
            await visitor.log_in(who="ann\x1b[31m")
            target = {"tube": "mail", "state": ["buried"]}
            await act(visitor, "delete", target, dry_run=True)
            await act(visitor, "delete", target)
            await visitor.post("/api/servers/main/put", {"tube": "mail", "body": "x"})
            state = await visitor.get("/api/state?topic=actions")
            (message,) = state["messages"]
            assert [entry["verb"] for entry in message["data"]["log"]] == ["put", "delete"]
        first, second = map(json.loads, file.read_text().splitlines())
        assert (first["verb"], first["filter"], first["state"]) == ("delete", target, "done")
        assert first["who"] == "ann[31m from 127.0.0.1"
        assert first["summary"]["done"] == 2
        assert first["started"] <= first["ended"]
        assert second["result"] == "job 7"


async def test_an_action_can_be_cancelled_and_tells_what_it_did(beanstalkd: AnyServer) -> None:
    async with client_of(beanstalkd) as client, visited({"main": beanstalkd.url}) as visitor:
        await visitor.arrive()
        await client.put_many([b""] * 30_000, tube="mail")
        number = (await begin(visitor, "delete", {"tube": "mail", "text": ""}))["id"]
        assert (await visitor.post(f"/api/actions/{number}/cancel", {}))["cancelled"]
        ended = await end(visitor, number)
        assert ended["state"] == "cancelled"
        left = (await counts(client, "mail"))[0]
        assert left == 30_000 - ended["summary"]["done"] > 0
        assert not (await visitor.post(f"/api/actions/{number}/cancel", {}))["cancelled"]


async def test_what_runs_ends_with_the_console(beanstalkd: AnyServer) -> None:
    async with client_of(beanstalkd) as client:
        await client.put_many([b""] * 30_000, tube="mail")
        async with visited({"main": beanstalkd.url}) as visitor:
            await visitor.arrive()
            await begin(visitor, "delete", {"tube": "mail", "text": ""})
        # That no task is left behind is looked at by the fixture of the loop.
        assert (await counts(client, "mail"))[0] > 0


async def test_too_many_at_once_are_refused(apart: AnyServer) -> None:
    async with visited({"main": apart.url}) as visitor:
        await visitor.arrive()
        apart.freeze()
        body = {"verb": "delete", "filter": {"tube": "mail"}}
        codes = [
            (await visitor.ask("/api/servers/main/actions", "POST", body=body)).code
            for _ in range(9)
        ]
        apart.thaw()
        assert codes == [200] * 8 + [429]


async def test_a_server_that_goes_away_is_told_as_the_result(server: AnyServer) -> None:
    async with visited({"main": server.url}) as visitor:
        await visitor.arrive()
        server.stop()
        done = await act(visitor, "delete", {"tube": "mail"})
        assert done["state"] == "failed"
        assert server.url in done["result"]


async def test_a_job_is_put(server: AnyServer) -> None:
    async with client_of(server) as client, visited({"main": server.url}) as visitor:
        await visitor.arrive()
        for body, encoding, expected in (
            ("é", "text", "é".encode()),
            ("/w==", "base64", b"\xff"),
            ("", "text", b""),
        ):
            put = await visitor.post(
                "/api/servers/main/put",
                {"tube": "a/b", "body": body, "encoding": encoding, "ttr": 7, "priority": 3},
            )
            assert (await client.peek(put["id"])).body == expected
            stats = await client.stats_job(put["id"])
            assert (stats["tube"], stats["ttr"], stats["pri"]) == ("a/b", 7, 3)
        for wrong in (
            {"body": "!!", "encoding": "base64"},
            {"tube": "-x"},
            {"tube": 5},
            {"priority": -1},
            {"ttr": "7"},
            {"body": ["x"]},
        ):
            response = await visitor.ask("/api/servers/main/put", "POST", body=wrong)
            assert response.code == 400, wrong
        big = await visitor.ask("/api/servers/main/put", "POST", body={"body": "x" * 70_000})
        assert big.code == 409
        assert (await client.stats())["total-jobs"] == 3
