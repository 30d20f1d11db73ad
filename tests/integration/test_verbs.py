"""Every verb against a real server: results and types, awaited and called back."""

from __future__ import annotations

import asyncio
import enum
import pickle
import signal
import subprocess
import sys
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from tornado.ioloop import IOLoop

import beanstalkt
from beanstalkt import Client, Job, blocking

from ..support.beanstalkd import EXECUTABLE
from ..support.both import Kind
from ..support.clients import client_of
from ..support.embedded import AnyServer

To = Callable[[AnyServer], Client]


@pytest.fixture
def to(kind: Kind) -> To:
    """Makes a client of either kind."""
    return lambda server: client_of(server, kind)


async def gives_none(awaitable: Awaitable[object]) -> None:
    assert await awaitable is None


# --- producing ------------------------------------------------------------------------------


async def test_put_gives_the_id_and_the_numbers_arrive(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        assert await client.put(b"one") == 1
        job_id = await client.put(b"two", 7, 8, 9)
        assert type(job_id) is int
        stats = await client.stats_job(job_id)
        assert (stats["id"], stats["pri"], stats["delay"], stats["ttr"]) == (2, 7, 8, 9)
        assert (stats["state"], stats["tube"]) == ("delayed", "default")
        assert 7 <= stats["time-left"] <= 8
        stats = await client.stats_job(1)
        assert (stats["pri"], stats["delay"], stats["ttr"]) == (2**31, 0, 120)


async def test_the_limits_of_the_numbers_are_taken(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        top = 2**32 - 1
        job_id = await client.put(b"", top, 10**8, top)
        stats = await client.stats_job(job_id)
        assert (stats["pri"], stats["delay"], stats["ttr"]) == (top, 10**8, top)
        assert (await client.stats_job(await client.put(b"", 0, 0, 0)))["ttr"] == 1
        assert await client.kick(top) == 1
        with pytest.raises(beanstalkt.NotFound):
            await client.peek(2**64 - 1)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (b"", b""),
        ("", b""),
        (b"a\r\nb\x00\xff", b"a\r\nb\x00\xff"),
        (b"\r\n", b"\r\n"),
        (bytes(range(256)), bytes(range(256))),
        ("grün \N{SNOWMAN}", "grün \N{SNOWMAN}".encode()),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[1:3], b"bc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (array("H", [1, 2]), array("H", [1, 2]).tobytes()),
        (b"put 0 0 0 1\r\nx\r\n", b"put 0 0 0 1\r\nx\r\n"),
        (b"x" * 65535, b"x" * 65535),
    ],
    ids=range(12),
)
async def test_a_body_comes_back_as_bytes(
    to: To, server: AnyServer, given: Any, stored: bytes
) -> None:
    async with to(server) as client:
        job_id = await client.put(given)
        for job in (await client.peek(job_id), await client.reserve()):
            assert job.body == stored
            assert type(job.body) is bytes


async def test_a_body_may_change_once_put_has_returned(server: AnyServer) -> None:
    async with client_of(server) as client:
        body = bytearray(b"before")
        first, put = client.put(b"busy"), client.put(body)
        body[:] = b"behind"
        assert (await client.peek(await put)).body == b"before"
        await first


async def test_a_body_too_big_is_refused_and_the_connection_goes_on(
    to: To,
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        puts = [client.put(b"x" * 65536), client.put("y" * 100_000), client.put(b"z")]
        for put in puts[:2]:
            with pytest.raises(beanstalkt.JobTooBig) as caught:
                await put
            error = caught.value
            assert (error.command, error.status, error.values) == ("put", "JOB_TOO_BIG", ())
        # A put that fails still consumes an id.
        assert (await client.peek(await puts[2])).body == b"z"


async def test_a_draining_server_refuses_puts_and_gives_jobs(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"before")
        server.signal(signal.SIGUSR1)
        while not (await client.stats())["draining"]:
            pass
        with pytest.raises(beanstalkt.Draining, match="no new jobs") as caught:
            await client.put(b"late")
        assert caught.value.status == "DRAINING"
        with pytest.raises(beanstalkt.Draining) as many:
            await client.put_many([b"late"] * 3)
        assert many.value.ids == [None] * 3
        assert (await client.reserve()).body == b"before"


async def test_use_and_using(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        assert client.using == "default"
        assert await client.use("a-tube;+/.$_()") == "a-tube;+/.$_()"
        assert client.using == "a-tube;+/.$_()" == await client.list_tube_used()
        assert await client.use("x" * 200) == "x" * 200
        job_id = await client.put(b"")
        assert (await client.stats_job(job_id))["tube"] == "x" * 200


# --- consuming ------------------------------------------------------------------------------


async def test_a_job_from_put_to_delete(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"A job to work on")
        job = await client.reserve()
        assert isinstance(job, Job)
        assert isinstance(job, dict)
        assert str(job) == repr(job) == "{'body': b'A job to work on', 'id': 1}"
        assert job == {"id": 1, "body": b"A job to work on"}
        assert (job["id"], job["body"]) == (job.id, job.body) == (1, b"A job to work on")
        await gives_none(job.delete())
        with pytest.raises(beanstalkt.NotFound) as caught:
            await job.delete()
        error = caught.value
        assert (error.command, error.status, error.values) == ("delete", "NOT_FOUND", ())


async def test_the_methods_of_a_job(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x", 5)
        job = await client.reserve()
        await gives_none(job.touch())
        assert (await job.stats())["state"] == "reserved"
        await gives_none(job.release(7, 0))
        assert (await client.stats_job(job))["pri"] == 7
        job = await client.reserve()
        await job.release(delay=100)
        stats = await job.stats()
        assert (stats["state"], stats["pri"], stats["delay"]) == ("delayed", 2**31, 100)
        await client.kick_job(job)
        job = await client.reserve()
        await gives_none(job.bury(3))
        stats = await job.stats()
        assert (stats["state"], stats["pri"], stats["buries"]) == ("buried", 3, 1)
        await job.delete()


async def test_a_job_is_taken_wherever_an_id_is(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x")
        job = await client.peek_ready()
        assert await client.peek(job) == job
        job = await client.reserve_job(job)
        await client.touch(job)
        await client.bury(job)
        await client.kick_job(job)
        job = await client.reserve()
        await client.release(job, 1, 0)
        assert (await client.stats_job(job))["pri"] == 1
        await client.delete(job)


async def test_a_pickled_job_is_a_bare_one(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x")
        job = await client.reserve()
        copy = pickle.loads(pickle.dumps(job))
        assert (copy, type(copy)) == (job, Job)
        with pytest.raises(beanstalkt.InvalidArgument, match="id"):
            copy.delete()
        await client.delete(copy)


async def test_reserve_with_a_timeout(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        for timeout in (0, 1):
            with pytest.raises(beanstalkt.TimedOut) as caught:
                await client.reserve(timeout)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.command == "reserve-with-timeout"
            assert caught.value.status == "TIMED_OUT"
        await client.put(b"x")
        assert (await client.reserve(0)).id == 1
        await client.put(b"y")
        assert (await client.reserve(2**31 - 1)).id == 2


async def test_deadline_soon(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x", ttr=1)
        await client.put(b"y")
        job = await client.reserve()
        # A ready job goes before the warning.
        assert (await client.reserve(0)).body == b"y"
        for timeout in (0, 5, None):
            with pytest.raises(beanstalkt.DeadlineSoon) as caught:
                await client.reserve(timeout)
            assert caught.value.status == "DEADLINE_SOON"
        await job.delete()


async def test_reserve_job(to: To, server: AnyServer) -> None:
    async with to(server) as client, to(server) as other:
        ready = await client.put(b"ready", tube="elsewhere")
        delayed = await client.put(b"delayed", delay=100)
        await client.pause_tube("elsewhere", 100)
        for job_id, body in ((ready, b"ready"), (delayed, b"delayed")):
            assert await client.reserve_job(job_id) == {"id": job_id, "body": body}
            for taker in (client, other):
                with pytest.raises(beanstalkt.NotFound):
                    await taker.reserve_job(job_id)
        await client.bury(ready)
        job = await other.reserve_job(ready)
        with pytest.raises(beanstalkt.NotFound):
            await client.delete(ready)
        await job.delete()


async def test_priority_none_keeps_the_present_one(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        for give in ("release", "bury"):
            job_id = await client.put(b"x", 1234)
            await client.reserve()
            await gives_none(getattr(client, give)(job_id, priority=None))
            assert (await client.stats_job(job_id))["pri"] == 1234
            await client.delete(job_id)
        job_id = await client.put(b"x", 77)
        job = await client.reserve()
        await job.release(None, 50)
        stats = await job.stats()
        assert (stats["pri"], stats["state"], stats["delay"]) == (77, "delayed", 50)
        await client.kick_job(job)
        await (await client.reserve()).bury(None)
        assert (await client.peek_buried()).id == job_id


async def test_priority_none_of_a_job_that_is_not_ours(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        job_id = await client.put(b"x")
        for call, verb in ((client.release, "release"), (client.bury, "bury")):
            for missing in (job_id, 99):
                with pytest.raises(beanstalkt.NotFound) as caught:
                    await call(missing, None)
                assert caught.value.command == verb


async def test_what_is_called_after_priority_none_goes_out_after_it(
    to: To,
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        await client.put(b"x", 9)
        job = await client.reserve()
        release, again = client.release(job, None), client.reserve()
        assert (await asyncio.wait_for(again, 5)).id == job.id
        await release
        bury, kick = client.bury(job, None), client.kick()
        assert await kick == 1
        await bury
        assert (await client.stats_job(job))["pri"] == 9


async def test_the_ttr_runs_out(to: To, server: AnyServer) -> None:
    async with to(server) as client, to(server) as other:
        await client.put(b"x", ttr=1)
        job = await client.reserve()
        taken = None
        while taken is None:
            # beanstalkd 1.12 may let a connection that says nothing keep its job for ever.
            await client.list_tubes()
            with suppress(beanstalkt.TimedOut):
                taken = await other.reserve(1)
        assert taken.id == job.id
        for verb in (job.delete, job.touch, job.release, job.bury):
            with pytest.raises(beanstalkt.NotFound):
                await verb()
        assert (await taken.stats())["timeouts"] == 1


async def test_watch_and_ignore(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        assert client.watching == {"default"}
        assert await client.watch("a") == 2
        assert await client.watch("a") == 2
        assert client.watching == {"default", "a"}
        assert await client.ignore("other") == 2
        assert await client.ignore("default") == 1
        with pytest.raises(beanstalkt.NotIgnored) as caught:
            await client.ignore("a")
        assert (caught.value.command, caught.value.status) == ("ignore", "NOT_IGNORED")
        assert client.watching == {"a"} == set(await client.list_tubes_watched())
        await client.put(b"not watched")
        job_id = await client.put(b"watched", tube="a")
        assert (await client.reserve()).id == job_id


async def test_jobs_yields_until_none_comes(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        ids = await client.put_many(str(number) for number in range(5))
        found: list[int] = []
        async for job in client.jobs(timeout=0):
            assert job.body == str(len(found)).encode()
            found.append(job.id)
            await job.delete()
        assert found == ids


async def test_jobs_goes_on_after_deadline_soon(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x", ttr=1)
        held = await client.reserve()
        # DEADLINE_SOON first; then its time is over, and it is ready again.
        async for job in client.jobs(timeout=10):
            assert job.id == held.id
            break


async def test_jobs_ends_when_the_client_is_closed(to: To, server: AnyServer) -> None:
    client = to(server)
    await client.connect()

    async def consume() -> None:
        async for _ in client.jobs():
            raise AssertionError("no job was put")

    task = asyncio.ensure_future(consume())
    await client.list_tubes()
    await client.close()
    with pytest.raises(beanstalkt.ConnectionLost):
        await asyncio.wait_for(task, 5)


# --- looking and moving ---------------------------------------------------------------------


async def test_the_peeks(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        for verb in (client.peek_ready, client.peek_delayed, client.peek_buried):
            with pytest.raises(beanstalkt.NotFound):
                await verb()
        buried = await client.put(b"buried")
        await client.bury(await client.reserve())
        ready = await client.put(b"ready")
        delayed = await client.put(b"delayed", delay=100)
        assert await client.peek_ready() == {"id": ready, "body": b"ready"}
        assert await client.peek_delayed() == {"id": delayed, "body": b"delayed"}
        assert await client.peek_buried() == {"id": buried, "body": b"buried"}
        job = await client.peek(ready)
        assert isinstance(job, Job)
        # A job that was looked at is nobody's; it can be deleted all the same.
        with pytest.raises(beanstalkt.NotFound):
            await job.touch()
        await job.delete()
        with pytest.raises(beanstalkt.NotFound):
            await client.peek(ready)


async def test_the_kicks(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put_many([b"x"] * 4, delay=100)
        await client.put(b"y", 0)
        await client.bury(await client.reserve())
        assert await client.kick(10) == 1  # buried ones only, while there is any
        assert await client.kick() == 1
        assert await client.kick(bound=2) == 2
        assert await client.kick(0) == 0
        job = await client.peek_delayed()
        await gives_none(client.kick_job(job))
        with pytest.raises(beanstalkt.NotFound):
            await client.kick_job(job.id)
        assert (await client.stats_job(job))["kicks"] == 1


async def test_the_lists_and_pause(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        names = ["007", "1.5", "null", "yes", "1_000", "2020-01-01"]
        for name in names:
            await client.watch(name)
        assert await client.list_tubes() == ["default", *names]
        assert await client.list_tubes_watched() == ["default", *names]
        assert await client.list_tube_used() == "default"
        await gives_none(client.pause_tube("007", 2**32 - 1))
        stats = await client.stats_tube("007")
        assert (stats["name"], stats["pause"]) == ("007", 2**32 - 1)
        await client.put(b"x", tube="007")
        with pytest.raises(beanstalkt.TimedOut):
            await client.reserve(0)
        await client.pause_tube("007", 0)
        assert (await client.reserve(0)).body == b"x"
        with pytest.raises(beanstalkt.NotFound):
            await client.pause_tube("missing", 1)


async def test_type_checkers_know_what_is_always_there(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        job_id = await client.put(b"x")
        assert beanstalkt.Stats.__required_keys__ <= (await client.stats()).keys()
        assert (
            beanstalkt.StatsTube.__required_keys__ <= (await client.stats_tube("default")).keys()
        )
        assert beanstalkt.StatsJob.__required_keys__ <= (await client.stats_job(job_id)).keys()


async def test_the_statistics(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.put(b"x", 3)
        stats = await client.stats()
        assert type(stats["version"]) is str
        assert "." in stats["version"]
        assert (stats["current-jobs-ready"], stats["current-jobs-urgent"]) == (1, 1)
        assert (stats["total-jobs"], stats["max-job-size"]) == (1, 65535)
        assert type(stats["rusage-utime"]) is type(stats["rusage-stime"]) is float
        assert type(stats["id"]) is type(stats["hostname"]) is type(stats["os"]) is str
        assert stats["draining"] is False
        strings = {"version", "id", "hostname", "os", "platform"}
        for key, value in stats.items():
            if key not in strings | {"draining"} and not key.startswith("rusage"):
                assert type(value) is int, key
        tube = await client.stats_tube("default")
        assert (tube["name"], tube["current-jobs-ready"]) == ("default", 1)
        job = await client.stats_job(1)
        assert (job["tube"], job["state"], job["pri"], job["file"]) == ("default", "ready", 3, 0)
        with pytest.raises(beanstalkt.NotFound) as caught:
            await client.stats_tube("missing")
        assert caught.value.command == "stats-tube"
        with pytest.raises(beanstalkt.NotFound):
            await client.stats_job(99)


# --- tube= ----------------------------------------------------------------------------------


async def test_tube_is_for_one_command(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        await client.use("mine")
        there = await client.put(b"there", tube="theirs")
        here = await client.put(b"here")
        assert (await client.stats_job(there))["tube"] == "theirs"
        assert (await client.stats_job(here))["tube"] == "mine"
        assert (await client.peek_ready(tube="theirs")).id == there
        assert (await client.peek_ready()).id == here
        ids = await client.put_many([b"1", b"2"], delay=100, tube="theirs")
        assert (await client.peek_delayed(tube="theirs")).id == ids[0]
        with pytest.raises(beanstalkt.NotFound):
            await client.peek_delayed()
        assert await client.kick(tube="theirs") == 1
        await client.bury(await client.reserve_job(there))
        assert (await client.peek_buried(tube="theirs")).id == there
        with pytest.raises(beanstalkt.NotFound):
            await client.peek_buried(tube="mine")
        assert await client.kick(5, tube="theirs") == 1
        assert client.using == "mine" == await client.list_tube_used()


async def test_tube_after_a_refused_command_is_still_ours(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        with pytest.raises(beanstalkt.NotFound):
            await client.peek_ready(tube="a")
        with pytest.raises(beanstalkt.JobTooBig):
            await client.put(b"x" * 70_000, tube="a")
        assert await client.list_tube_used() == "default" == client.using


async def test_use_and_tube_in_one_turn(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        use_a = client.use("a")
        puts = [client.put(b"1"), client.put(b"2", tube="b"), client.put(b"3", tube="a")]
        use_b = client.use("b")
        puts += [client.put(b"4"), client.put(b"5", tube="a"), client.put(b"6")]
        tubes = [(await client.stats_job(await put))["tube"] for put in puts]
        assert tubes == ["a", "b", "a", "b", "a", "b"]
        assert (await use_a, await use_b) == ("a", "b")


async def test_put_many_goes_to_the_tube_that_was_used_when_it_was_called(
    to: To,
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        many = client.put_many([b"x"] * 3000)
        use = client.use("later")
        put = client.put(b"y")
        await asyncio.gather(many, use, put)
        assert (await client.stats_tube("default"))["total-jobs"] == 3000
        assert (await client.stats_tube("later"))["total-jobs"] == 1


# --- put_many -------------------------------------------------------------------------------


async def test_put_many_gives_the_ids_in_order(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        assert await client.put_many([]) == []
        assert await client.put_many(iter(["a"])) == [1]
        bodies = [b"%d" % number for number in range(3000)]
        ids = await client.put_many(bodies, 5, 0, 60)
        assert ids == list(range(2, 3002))
        for index in (0, 511, 512, 1023, 1024, 2999):
            job = await client.peek(ids[index])
            assert job.body == bodies[index]
        stats = await client.stats_job(ids[-1])
        assert (stats["pri"], stats["ttr"]) == (5, 60)


@pytest.mark.parametrize("bodies", [b"abc", "abc", bytearray(b"x"), 5, None])
async def test_put_many_takes_an_iterable_of_bodies(
    to: To, server: AnyServer, bodies: Any
) -> None:
    async with to(server) as client:
        with pytest.raises(beanstalkt.InvalidArgument):
            getattr(client, "blocking", client).put_many(bodies)
        assert (await client.stats())["cmd-put"] == 0


# --- callbacks ------------------------------------------------------------------------------


async def called(start: Callable[[Callable[[Any], None]], object]) -> Any:
    """What a verb's callback gets."""
    got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    start(got.set_result)
    return await asyncio.wait_for(got, 10)


async def test_every_verb_takes_its_callback_last(server: AnyServer) -> None:
    async with client_of(server) as c:
        assert await called(lambda cb: c.put(b"x", 1, 0, 100, cb)) == 1
        assert await called(lambda cb: c.put_many([b"y"], 2, 0, 100, cb)) == [2]
        assert await called(lambda cb: c.use("default", cb)) == "default"
        assert await called(lambda cb: c.watch("w", cb)) == 2
        assert await called(lambda cb: c.ignore("w", cb)) == 1
        assert await called(lambda cb: c.reserve(None, cb)) == {"id": 1, "body": b"x"}
        assert await called(lambda cb: c.touch(1, cb)) is None
        assert await called(lambda cb: c.release(1, 1, 0, cb)) is None
        assert await called(lambda cb: c.reserve_job(1, cb)) == {"id": 1, "body": b"x"}
        assert await called(lambda cb: c.bury(1, 1, cb)) is None
        assert await called(lambda cb: c.peek_buried(cb)) == {"id": 1, "body": b"x"}
        assert await called(lambda cb: c.kick(1, cb)) == 1
        assert await called(lambda cb: c.peek_ready(cb)) == {"id": 1, "body": b"x"}
        assert await called(lambda cb: c.peek(1, cb)) == {"id": 1, "body": b"x"}
        assert isinstance(await called(lambda cb: c.peek_delayed(cb)), beanstalkt.NotFound)
        assert isinstance(await called(lambda cb: c.kick_job(1, cb)), beanstalkt.NotFound)
        assert (await called(lambda cb: c.stats_job(1, cb)))["id"] == 1
        assert (await called(lambda cb: c.stats_tube("default", cb)))["name"] == "default"
        assert (await called(lambda cb: c.stats(cb)))["total-jobs"] == 2
        assert await called(lambda cb: c.list_tubes(cb)) == ["default"]
        assert await called(lambda cb: c.list_tube_used(cb)) == "default"
        assert await called(lambda cb: c.list_tubes_watched(cb)) == ["default"]
        assert await called(lambda cb: c.pause_tube("default", 0, cb)) is None
        job = await called(lambda cb: c.reserve(callback=cb))
        assert await called(lambda cb: job.touch(cb)) is None
        assert await called(lambda cb: job.release(None, 0, cb)) is None
        assert (await called(lambda cb: job.stats(cb)))["pri"] == 1
        job = await called(lambda cb: c.reserve(callback=cb))
        assert await called(lambda cb: job.bury(None, cb)) is None
        assert await called(lambda cb: job.delete(cb)) is None
        assert await called(lambda cb: c.delete(2, cb)) is None


async def test_an_error_comes_to_the_callback_as_a_value(server: AnyServer) -> None:
    client = client_of(server)
    assert isinstance(await called(lambda cb: client.put(b"", callback=cb)), OSError)
    assert isinstance(await called(lambda cb: client.reserve(callback=cb)), OSError)
    async with client:
        assert isinstance(await called(lambda cb: client.reserve(0, cb)), beanstalkt.TimedOut)
        assert isinstance(await called(lambda cb: client.delete(9, cb)), beanstalkt.NotFound)
        kept = await called(lambda cb: client.release(9, None, 0, cb))
        assert isinstance(kept, beanstalkt.NotFound)
        many = await called(lambda cb: client.put_many([b"", b"x" * 70_000], callback=cb))
        assert isinstance(many, beanstalkt.JobTooBig)
        assert many.ids == [1, None]
        # Not as a value: nothing was called yet.
        with pytest.raises(beanstalkt.InvalidArgument):
            client.put(b"", -1, callback=print)


async def test_a_callback_that_raises_is_reported_and_breaks_nothing(
    server: AnyServer,
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def bad(*values: object) -> None:
        raise ZeroDivisionError(*values)

    async def bad_later(value: object) -> None:
        raise ZeroDivisionError(value)

    client = client_of(server)
    await client.connect(bad)
    puts = [client.put(b"x", callback=bad), client.put(b"y", callback=bad_later)]
    assert await asyncio.gather(*puts) == [1, 2]
    assert await called(lambda cb: client.put(b"z", callback=cb)) == 3
    await client.close(bad)
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError] * 4


async def test_an_async_callback_is_run(server: AnyServer) -> None:
    async with client_of(server) as client:
        seen: asyncio.Future[Job] = asyncio.get_running_loop().create_future()

        async def look(job_id: int) -> None:
            seen.set_result(await client.peek(job_id))

        client.put(b"x", callback=look)
        assert (await asyncio.wait_for(seen, 10)).id == 1


async def test_a_callback_may_return_anything(server: AnyServer) -> None:
    async with client_of(server) as client:
        for value in (5, "text", [], [1], {}, {"a": 1}, Job(1, b""), object()):
            client.put(b"x", callback=lambda _, value=value: value)
        client.put(b"x", callback=lambda _: client.put(b"y"))
        await client.stats()


async def test_the_callbacks_of_connect_and_close_get_nothing(server: AnyServer) -> None:
    client = client_of(server)
    for verb in (client.connect, client.connect, client.close, client.close):
        done: asyncio.Future[tuple[object, ...]] = asyncio.get_running_loop().create_future()
        verb(lambda *values, done=done: done.set_result(values))
        assert await asyncio.wait_for(done, 10) == ()
    assert client.closed()


def test_callbacks_may_be_given_before_the_loop_runs(server: AnyServer, io_loop: IOLoop) -> None:
    client = client_of(server)
    seen: list[object] = []

    def connected() -> None:
        client.put(b"x", callback=put)

    def put(job_id: int) -> None:
        seen.append(job_id)
        client.reserve(callback=reserved)

    def reserved(job: Job) -> None:
        seen.append(job)
        client.delete(job, deleted)

    def deleted(value: object) -> None:
        seen.append(value)
        client.close(io_loop.stop)

    client.put(b"early", callback=seen.append)
    client.connect(connected)
    io_loop.call_later(20, io_loop.stop)
    io_loop.start()
    assert isinstance(seen.pop(0), beanstalkt.ConnectionLost)
    assert seen == [1, {"id": 1, "body": b"x"}, None]
    assert client.closed()


PROGRAM = """
import tornado.ioloop
import beanstalkt

def show(msg, value, cb):
  print(msg % value)
  cb()

def stop():
  client.close(ioloop.stop)

def put():
  client.put(b"A job to work on", callback=lambda s: show(
      "Queued a job with id %d", s, reserve))

def reserve():
  client.reserve(callback=lambda s: show(
      "Reserved job %s", s, lambda: delete(s["id"])))

def delete(job_id):
  client.delete(job_id, callback=lambda s: show(
      "Deleted job with id %d", job_id, stop))

client = beanstalkt.Client()
client.connect(put)
ioloop = tornado.ioloop.IOLoop.instance()
ioloop.start()
"""


def test_a_program_of_callbacks_runs_unchanged(server: AnyServer, tmp_path: Path) -> None:
    # Only the port differs: 11300 may be somebody's.
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("Client()", f"Client(port={server.port})"))
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", str(program)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "Queued a job with id 1",
        "Reserved job {'body': b'A job to work on', 'id': 1}",
        "Deleted job with id 1",
    ]


# --- what is refused by the call itself -----------------------------------------------------


NOT_INTS: list[Any] = [True, False, 1.0, 1.5, float("nan"), "1", b"1", None, -1, 2**32]
BAD_NAMES: list[Any] = [
    "",
    "-x",
    "a b",
    "a\r\nb",
    "a\r",
    "tübe",
    "a\0",
    "x" * 201,
    "a,b",
    "a:b",
    "\ud800",
    b"x",
    None,
    5,
]
BAD_IDS: list[Any] = [True, 1.0, "1", b"1", None, -1, 2**64, {"id": 1}, []]
BAD_BODIES: list[Any] = [None, 5, 1.5, True, [b"x"], object(), {"a": 1}, "\ud800", "ok\udcff"]


Call = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]


def refused(client: Client) -> Iterator[Call]:
    """Calls that must not reach the server."""
    for bad in BAD_BODIES:
        yield client.put, (bad,), {}
    for bad in NOT_INTS:
        for put, body in ((client.put, b""), (client.put_many, [b""])):
            yield put, (body, bad), {}
            yield put, (body, 0, bad), {}
            yield put, (body, 0, 0, bad), {}
        yield client.release, (1, 0, bad), {}
        yield client.release, (1, None, bad), {}
        yield client.kick, (bad,), {}
        yield client.pause_tube, ("default", bad), {}
        if bad is not None:
            yield client.release, (1, bad), {}
            yield client.bury, (1, bad), {}
            yield client.reserve, (bad,), {}
    yield client.reserve, (2**31,), {}
    for bad in BAD_IDS:
        yield client.delete, (bad,), {}
        yield client.touch, (bad,), {}
        yield client.release, (bad,), {}
        yield client.release, (bad, None), {}
        yield client.bury, (bad,), {}
        yield client.bury, (bad, None), {}
        yield client.peek, (bad,), {}
        yield client.kick_job, (bad,), {}
        yield client.stats_job, (bad,), {}
        yield client.reserve_job, (bad,), {}
    for bad in BAD_NAMES:
        for name in (client.use, client.watch, client.ignore, client.stats_tube):
            yield name, (bad,), {}
        yield client.pause_tube, (bad, 0), {}
        if bad is not None:
            yield client.put, (b"",), {"tube": bad}
            yield client.put_many, ([b""],), {"tube": bad}
            for verb in (client.peek_ready, client.peek_delayed, client.peek_buried, client.kick):
                yield verb, (), {"tube": bad}


async def test_bad_arguments_are_refused_by_the_call_and_take_no_place(
    to: To,
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        first = client.put(b"first")  # the connection is not idle meanwhile
        for call, args, options in refused(getattr(client, "blocking", client)):
            with pytest.raises(beanstalkt.InvalidArgument):
                pytest.fail(f"{args} {options} was taken: {call(*args, **options)!r}")
        assert (await first, await client.put(b"next")) == (1, 2)
        assert client.using == "default"
        assert client.watching == {"default"}
        stats = await client.stats()
        counted = {key: value for key, value in stats.items() if key.startswith("cmd-") and value}
        assert counted == {"cmd-put": 2, "cmd-stats": 1}


def test_bad_arguments_are_refused_without_a_connection_too(io_loop: IOLoop) -> None:
    for call, args, options in [*refused(Client()), *refused(cast("Client", blocking.Client()))]:
        with pytest.raises(beanstalkt.InvalidArgument):
            call(*args, **options)


async def test_a_bad_timeout_of_jobs_is_refused(to: To, server: AnyServer) -> None:
    async with to(server) as client:
        for bad in (-1, 1.0, True):
            with pytest.raises(beanstalkt.InvalidArgument):
                async for _ in client.jobs(bad):  # type: ignore[arg-type]
                    pass


async def test_an_int_of_another_class_is_an_int(to: To, server: AnyServer) -> None:
    class Urgency(enum.IntEnum):
        HIGH = 3

    async with client_of(server) as client:
        job_id = await client.put(b"", Urgency.HIGH)
        assert (await client.stats_job(job_id))["pri"] == 3


@pytest.mark.parametrize("text", ["é" * 40_000, "x" * 65_536])
async def test_the_size_is_that_of_the_bytes(to: To, server: AnyServer, text: str) -> None:
    async with to(server) as client:
        with pytest.raises(beanstalkt.JobTooBig):
            await client.put(text)
        assert await client.list_tubes() == ["default"]


# --- making a client ------------------------------------------------------------------------


async def test_from_url(server: AnyServer) -> None:
    async with Client.from_url(server.url, connect_timeout=5) as client:
        assert await client.put(b"x") == 1
        assert not client.closed()
    assert client.closed()


@pytest.mark.skipif(EXECUTABLE is None, reason="beanstalkd is not installed")
async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process = subprocess.Popen(["beanstalkd", "-l", f"unix:{path}"])
    try:
        async with Client.from_url(f"unix://{path}", connect_timeout=10) as client:
            assert await client.put(b"x") == 1
            assert (await client.reserve()).body == b"x"
    finally:
        process.terminate()
        process.wait(10)


async def test_async_with_closes_after_an_error(to: To, server: AnyServer) -> None:
    client = to(server)
    with pytest.raises(ZeroDivisionError):
        async with client:
            raise ZeroDivisionError
    assert client.closed()
    with pytest.raises(OSError, match="closed"):
        await client.put(b"x")
    async with client:  # and may be opened again
        assert await client.put(b"x") == 1


async def test_a_client_that_is_not_connected_fails_each_command(server: AnyServer) -> None:
    client = client_of(server)
    assert client.closed()
    calls: list[Call] = [
        (client.put, (b"x",), {}),
        (client.put, (b"x",), {"tube": "a"}),
        (client.put_many, ([b"x"],), {}),
        (client.use, ("a",), {}),
        (client.reserve, (), {}),
        (client.reserve_job, (1,), {}),
        (client.release, (1, None), {}),
        (client.delete, (1,), {}),
        (client.watch, ("a",), {}),
        (client.kick, (), {"tube": "a"}),
        (client.stats, (), {}),
    ]
    for call, args, options in calls:
        with pytest.raises(beanstalkt.ConnectionLost) as caught:
            await cast("asyncio.Future[object]", call(*args, **options))
        assert caught.value.sent is False
    async with client:
        assert client.using == await client.list_tube_used() == "default"
        put = await client.put(b"", tube="a")
        assert (await client.stats_job(put))["tube"] == "a"


# --- what newcomers stumbled over -------------------------------------------------------------

WITH_CALLBACK: dict[str, Callable[[Client, Job, Any], object]] = {
    "put": lambda client, job, no: client.put(b"x", 1, 0, 60, no),
    "put in a tube": lambda client, job, no: client.put(b"x", callback=no, tube="t"),
    "put_many": lambda client, job, no: client.put_many([b"x"], callback=no),
    "use": lambda client, job, no: client.use("t", no),
    "reserve": lambda client, job, no: client.reserve(callback=no),
    "reserve now": lambda client, job, no: client.reserve(0, no),
    "reserve_job": lambda client, job, no: client.reserve_job(job, no),
    "delete": lambda client, job, no: client.delete(job, no),
    "release": lambda client, job, no: client.release(job, callback=no),
    "release, kept": lambda client, job, no: client.release(job, None, callback=no),
    "bury": lambda client, job, no: client.bury(job, callback=no),
    "touch": lambda client, job, no: client.touch(job, no),
    "job.delete": lambda client, job, no: job.delete(no),
    "job.release": lambda client, job, no: job.release(callback=no),
    "job.bury": lambda client, job, no: job.bury(callback=no),
    "job.touch": lambda client, job, no: job.touch(no),
    "job.stats": lambda client, job, no: job.stats(no),
    "watch": lambda client, job, no: client.watch("t", no),
    "ignore": lambda client, job, no: client.ignore("default", no),
    "peek": lambda client, job, no: client.peek(job, no),
    "peek_ready": lambda client, job, no: client.peek_ready(no),
    "peek_delayed": lambda client, job, no: client.peek_delayed(no),
    "peek_buried": lambda client, job, no: client.peek_buried(no),
    "kick": lambda client, job, no: client.kick(1, no),
    "kick_job": lambda client, job, no: client.kick_job(job, no),
    "list_tubes": lambda client, job, no: client.list_tubes(no),
    "list_tube_used": lambda client, job, no: client.list_tube_used(no),
    "list_tubes_watched": lambda client, job, no: client.list_tubes_watched(no),
    "pause_tube": lambda client, job, no: client.pause_tube("default", 60, no),
    "stats_job": lambda client, job, no: client.stats_job(job, no),
    "stats_tube": lambda client, job, no: client.stats_tube("default", no),
    "stats": lambda client, job, no: client.stats(no),
    "connect": lambda client, job, no: client.connect(no),
    "close": lambda client, job, no: client.close(no),
    "set_reconnect_callback": lambda client, job, no: client.set_reconnect_callback(no),
}


def test_each_verb_with_a_callback_is_tried_with_a_bad_one() -> None:
    named = {
        name
        for name, member in vars(Client).items()
        if not name.startswith("_") and "callback" in getattr(member, "__annotations__", {})
    }
    assert named <= set(WITH_CALLBACK)


@pytest.mark.parametrize("bad", ["mytube", 7, "", False])
async def test_what_cannot_be_called_back_is_refused_before_anything_is_sent(
    server: AnyServer, bad: object
) -> None:
    async with Client(server.host, server.port) as client:
        await client.put(b"x")
        job = await client.reserve()
        before = await client.stats()
        for verb in WITH_CALLBACK.values():
            with pytest.raises(beanstalkt.InvalidArgument, match="callback must be a function"):
                verb(client, job, bad)
        after = await client.stats()
        counters = {name for name in before if name.startswith("cmd-")} - {"cmd-stats"}
        assert {name: before[name] for name in counters} == {  # type: ignore[literal-required]
            name: after[name]  # type: ignore[literal-required]
            for name in counters
        }
        assert (client.using, set(client.watching)) == ("default", {"default"})
        assert await client.put(b"y") == 2
        await job.delete()


MISSING: dict[str, Callable[[Client], Awaitable[object]]] = {
    "delete: NOT_FOUND: job 99 does not exist": lambda client: client.delete(99),
    "release: NOT_FOUND: job 99 does not exist": lambda client: client.release(99),
    "release: NOT_FOUND: job 98 does not exist": lambda client: client.release(98, priority=None),
    "bury: NOT_FOUND: job 98 does not exist": lambda client: client.bury(98, priority=None),
    "bury: NOT_FOUND: job 99 does not exist": lambda client: client.bury(99),
    "touch: NOT_FOUND: job 99 does not exist": lambda client: client.touch(99),
    "reserve-job: NOT_FOUND: job 99 does not exist": lambda client: client.reserve_job(99),
    "peek: NOT_FOUND: job 99 does not exist": lambda client: client.peek(99),
    "kick-job: NOT_FOUND: job 99 does not exist": lambda client: client.kick_job(99),
    "stats-job: NOT_FOUND: job 99 does not exist": lambda client: client.stats_job(99),
    "stats-tube: NOT_FOUND: tube nowhere does not exist": lambda client: client.stats_tube(
        "nowhere"
    ),
    "pause-tube: NOT_FOUND: tube nowhere does not exist": lambda client: client.pause_tube(
        "nowhere", 5
    ),
    "peek-ready: NOT_FOUND: tube default has no job": lambda client: client.peek_ready(),
    "peek-delayed: NOT_FOUND: tube mail has no job": lambda client: client.peek_delayed(
        tube="mail"
    ),
    "peek-buried: NOT_FOUND: tube mail has no job": lambda client: client.peek_buried(tube="mail"),
}


async def test_not_found_names_the_job_or_the_tube(server: AnyServer) -> None:
    """Also when many are in flight, and when the commands were held by a waiting reserve."""
    async with Client(server.host, server.port) as client:
        for held in (False, True):
            reserve = client.reserve(1) if held else None
            results = [asyncio.ensure_future(verb(client)) for verb in MISSING.values()]
            for message, error in zip(
                MISSING, await asyncio.gather(*results, return_exceptions=True), strict=True
            ):
                assert isinstance(error, beanstalkt.NotFound)
                assert str(error).startswith(message)
                assert (error.command, error.status) == (message.partition(":")[0], "NOT_FOUND")
            if reserve is not None:
                with pytest.raises(beanstalkt.TimedOut):
                    await reserve
        await client.use("used")
        with pytest.raises(beanstalkt.NotFound, match="tube used has no job in this state"):
            await client.peek_ready()
