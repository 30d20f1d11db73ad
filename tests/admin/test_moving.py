"""Jobs that are moved and copied keep all that they have, while others take from their tubes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanstalkt import Client, ConnectionLost, InvalidArgument, TimedOut
from beanstalkt.admin import Summary, copy, move, select
from beanstalkt.admin import moving as module

from ..support.beanstalkd import EXECUTABLE, Beanstalkd
from ..support.clients import client_of, drained, nothing_reserved
from ..support.embedded import AnyServer, Embedded
from ..support.peer import Line, Peer
from ..support.population import KINDS, Kind, empty, kind, populate, population, same
from ..support.proxy import Proxy
from ..support.waiting import until, until_awaited

EVERY = [
    kind(b"1", "buried", priority=2**32 - 1),
    kind(b"2", "ready", priority=0),
    kind(b"3", "delayed"),
    kind(b"4", "ready", ttr=1),
    kind(b"5", "buried"),
    kind(b"\xff\r\n", "ready"),
]


@pytest.fixture
def other(server: AnyServer) -> Iterator[AnyServer]:
    """A second server, of the other kind than `server` where there are both."""
    made = Embedded() if isinstance(server, Beanstalkd) or not EXECUTABLE else Beanstalkd()
    made.start()
    yield made
    made.stop()


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(kinds=st.lists(KINDS, max_size=8))
def test_moved_to_another_server_all_is_kept(
    server: AnyServer, other: AnyServer, kinds: list[Kind]
) -> None:
    async def there() -> None:
        async with client_of(server) as source, client_of(other) as target:
            await populate(source, kinds)
            try:
                summary = await move(source, select(), to=target)
                assert summary.ok
                assert summary.done == len(kinds)
                assert await population(source) == []
                for tube in {each.tube for each in kinds}:
                    those = [each for each in kinds if each.tube == tube]
                    same(await population(target, tube), those)
            finally:
                await empty(source)
                await empty(target)

    asyncio.run(there())


@pytest.mark.parametrize("same_client", [True, False])
async def test_moved_to_another_tube(server: AnyServer, same_client: bool) -> None:
    async with client_of(server) as client, client_of(server) as second:
        await populate(client, [*EVERY, kind(b"other", tube="b")])
        to = None if same_client else second
        summary = await move(client, select("a"), to=to, tube="c")
        assert (summary.action, summary.done, summary.ok) == ("moved", len(EVERY), True)
        assert summary.states == {"ready": 3, "buried": 2, "delayed": 1}
        assert await population(client, "a") == []
        same(await population(client, "b"), [kind(b"other", tube="b")])
        same(await population(client, "c"), [each._replace(tube="c") for each in EVERY])


async def test_copies_leave_the_jobs_as_they_are(server: AnyServer, other: AnyServer) -> None:
    held = kind(b"held", "reserved")
    async with client_of(server) as source, client_of(other) as target:
        await populate(source, [*EVERY, held])
        before = [await source.stats_job(number) for number in range(1, 8)]
        summary = await copy(source, select(), to=target)
        assert (summary.action, summary.done) == ("copied", 7)
        same(await population(target), [*EVERY, held._replace(state="ready")])
        after = [await source.stats_job(number) for number in range(1, 8)]
        kept = ("state", "pri", "reserves", "releases", "buries", "kicks")
        assert [[each[key] for key in kept] for each in after] == [  # type: ignore[literal-required]
            [each[key] for key in kept]  # type: ignore[literal-required]
            for each in before
        ]


async def test_only_what_is_selected_and_no_more_than_the_limit(server: AnyServer) -> None:
    async with client_of(server) as client:
        await populate(client, EVERY)
        await move(client, select("a", "ready", text=b"\r\n"), tube="b")
        same(await population(client, "b"), [EVERY[-1]._replace(tube="b")])
        summary = await move(client, select("a", "ready"), tube="c", limit=1)
        assert (summary.done, summary.limited) == (1, True)
        assert [each.body for each in await population(client, "c")] == [b"2"]
        summary = await move(client, select("a"), tube="d", dry_run=True)
        assert (summary.done, summary.dry_run) == (4, True)
        assert await population(client, "d") == []


async def test_a_job_that_is_reserved_stays_with_its_worker(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as worker:
        await populate(worker, [kind(b"held", "reserved")])
        await populate(client, [kind(b"own", "reserved"), kind(b"free")])
        summary = await move(client, select("a"), tube="b")
        assert summary.done == 1
        assert summary.skipped["reserved by a worker"] == 2
        await client.delete(2)  # its reservation is not touched either
        await worker.delete(1)


async def test_moving_jobs_to_where_they_are_is_refused(server: AnyServer) -> None:
    async with client_of(server) as client, client_of(server) as second:
        await populate(client, EVERY)
        for operation in (move, copy):
            for to in (None, second):
                for selection, tube in (("a", None), ("a", "a"), ((), "b"), (("b", "a"), "b")):
                    with pytest.raises(InvalidArgument, match="same server"):
                        await operation(client, select(selection), to=to, tube=tube)
            with pytest.raises(InvalidArgument, match="bad tube name"):
                await operation(client, select("a"), tube="b c")
            with pytest.raises(InvalidArgument, match="on_error"):
                await operation(client, select("a"), tube="b", on_error="go on")  # type: ignore[arg-type]
        same(await population(client), EVERY)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
async def test_what_the_target_refuses_stays_as_it_was(
    server: AnyServer, other: AnyServer, on_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    kinds = EVERY * 2
    await drained(other)
    async with client_of(server) as source, client_of(other) as target:
        await populate(source, kinds)
        summary = await move(source, select("a"), to=target, on_error=on_error)
        assert summary.done == 0
        assert summary.failed == len(kinds) if on_error == "skip" else 2 <= summary.failed <= 10
        assert "DRAINING" in summary.failures[0][1]
        same(await population(source, "a"), kinds)
        await nothing_reserved(source)


async def test_a_body_that_is_too_big_for_the_target_stays(server: AnyServer) -> None:
    small = Embedded(max_job_size=10)
    small.start()
    try:
        async with client_of(server) as source, client_of(small) as target:
            kinds = [kind(b"x" * 11), kind(b"y"), kind(b"z" * 11, "buried"), kind(b"w", "buried")]
            await populate(source, kinds)
            summary = await move(source, select(), to=target, on_error="skip")
            assert (summary.done, summary.failed) == (2, 2)
            assert [number for number, _ in summary.failures] == [1, 3]
            same(await population(source), [kinds[0], kinds[2]])
            same(await population(target), [kinds[1], kinds[3]])
    finally:
        small.stop()


async def test_workers_take_from_both_tubes_meanwhile_and_do_each_job_once(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 8)
    done: Counter[bytes] = Counter()

    async def work(tube: str) -> None:
        async with client_of(server) as worker:
            await worker.watch(tube)
            while True:
                job = await worker.reserve()
                done[job.body] += 1
                # A worker settles in many ways.
                if int(job.body) % 7 == 0:
                    await job.bury(3)
                elif int(job.body) % 5 == 0:
                    await job.release(delay=10**6)
                else:
                    await job.delete()

    async with client_of(server) as client, client_of(server) as second:
        await populate(client, [kind(b"%d" % number) for number in range(1500)])
        workers = [asyncio.ensure_future(work(tube)) for tube in "aabb"]
        moved = 0
        while True:
            summary = await move(client, select("a"), to=second, tube="b")
            assert not summary.failed, summary
            moved += summary.done
            if not summary.done:
                break

        async def idle() -> bool:
            stats = await client.stats()
            return not stats["current-jobs-ready"] and not stats["current-jobs-reserved"]

        await until_awaited(idle, "the workers have done all jobs")
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        left = await population(client)
        # Buried ones are buried still, wherever they are, and delayed ones delayed.
        assert moved
        assert {each.state for each in left} <= {"buried", "delayed"}
        assert all(
            each.state == ("buried" if int(each.body) % 7 == 0 else "delayed") for each in left
        )
        assert len({each.body for each in left}) == len(left)
        assert set(done) == {b"%d" % number for number in range(1500)}
        assert set(done.values()) == {1}


STATS = b"OK 4\r\n---\n\r\n"


async def test_a_slow_target_lets_no_ttr_run_out(server: AnyServer) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(line: Line) -> None:
        await line.expect(b"stats")
        line.send(STATS)
        await line.expect(b"use a", b"put 5 0 1 5\r\nshort", b"use default")
        arrived.set()
        await go_on.wait()
        line.send(b"USING a\r\nINSERTED 1\r\nUSING default\r\n")
        await line.end()

    async with (
        Peer(script) as peer,
        client_of(server) as source,
        client_of(server) as worker,
        client_of(peer) as target,
    ):
        await populate(source, [kind(b"short", ttr=1)])
        await worker.watch("a")
        moving = asyncio.ensure_future(_moved(source, target))
        await arrived.wait()
        with pytest.raises(TimedOut):
            await worker.reserve(2)
        go_on.set()
        summary = await moving
        assert (summary.done, summary.ok) == (1, True)
        assert await population(source) == []


async def _moved(source: Client, target: Client, summary: Summary | None = None) -> Summary:
    return await move(source, select("a"), to=target, summary=summary)


async def test_a_job_that_a_worker_got_all_the_same_is_taken_back_from_the_target() -> None:
    """The delete finds that the job was kicked, and another one has it."""
    async with (
        Peer(lambda line: play_source(line, "buried", b"NOT_FOUND\r\n")) as peer,
        client_of(peer) as source,
        target_server() as server,
        client_of(server) as target,
    ):
        summary = await _moved(source, target)
        assert (summary.done, summary.vanished, summary.failed) == (0, 1, 0)
        assert await population(target) == []


async def test_a_copy_that_cannot_be_removed_since_the_target_was_lost_is_told() -> None:
    async with target_server() as server, client_of(server, reconnect_delay=60) as target:

        async def script(line: Line) -> None:
            await play_source(line, "buried", b"NOT_FOUND\r\n", before_delete=lose_target)

        async def lose_target() -> None:
            await asyncio.to_thread(server.stop)
            await until(lambda: target.connection is None, "the target is lost")

        async with Peer(script) as peer, client_of(peer) as source:
            summary = await _moved(source, target)
        assert (summary.done, summary.vanished) == (0, 0)
        ((number, reason),) = summary.failures
        assert number == 1
        assert "its copy, job 1 of the target, could not be removed" in reason


async def test_a_job_that_workers_have_on_both_sides_is_told() -> None:
    async with (
        Peer(lambda line: play_source(line, "ready", b"NOT_FOUND\r\n")) as peer,
        client_of(peer) as source,
        target_server() as server,
        client_of(server) as target,
        client_of(server) as worker,
    ):
        await worker.watch("a")
        taken = worker.reserve()
        summary = await _moved(source, target)
        assert (await taken).body == b"x"
        assert (summary.done, summary.vanished) == (0, 0)
        ((number, reason),) = summary.failures
        assert number == 1
        assert "done twice" in reason


async def test_a_source_that_goes_before_it_answers_the_delete_leaves_that_unknown() -> None:
    async with (
        Peer(lambda line: play_source(line, "ready", None)) as peer,
        client_of(peer, reconnect_delay=60) as source,
        target_server() as server,
        client_of(server) as target,
    ):
        summary = Summary()
        with pytest.raises(ConnectionLost):
            await _moved(source, target, summary)
        assert (summary.done, summary.unknown, summary.ok) == (0, 1, False)
        same(await population(target), [kind(b"x", priority=3, ttr=9)])


async def test_a_source_that_was_lost_before_the_delete_was_sent_keeps_its_job(
    server: AnyServer,
) -> None:
    lost = asyncio.Event()

    async def script(line: Line) -> None:
        await line.expect(b"stats")
        line.send(STATS)
        await line.expect(b"use a", b"put 5 0 60 1\r\nx", b"use default")
        await proxy.cut()
        await until(lambda: source.closed())
        line.send(b"USING a\r\nINSERTED 7\r\nUSING default\r\n")
        await line.expect(b"delete 7")
        line.send(b"DELETED\r\n")
        lost.set()
        await line.end()

    async with (
        Proxy(server.host, server.port) as proxy,
        Peer(script) as peer,
        client_of(proxy, reconnect_delay=60) as source,
        client_of(server) as direct,
        client_of(peer) as target,
    ):
        await populate(direct, [kind()])
        summary = Summary()
        with pytest.raises(ConnectionLost):
            await _moved(source, target, summary)
        assert lost.is_set()
        assert (summary.done, summary.unknown) == (0, 0)
        same(await population(direct), [kind()])


async def test_a_target_that_is_lost_leaves_the_jobs_at_the_source(server: AnyServer) -> None:
    async def script(line: Line) -> None:
        if len(peer.lines) > 1:
            return
        await line.expect(b"stats")
        line.send(STATS)
        await line.command()
        await line.command()

    async with (
        Peer(script) as peer,
        client_of(server) as source,
        client_of(peer, reconnect_delay=60) as target,
    ):
        await populate(source, EVERY)
        summary = Summary()
        with pytest.raises(ConnectionLost):
            await _moved(source, target, summary)
        assert (summary.done, summary.unknown) == (0, len(EVERY))
        same(await population(source), EVERY)
        await nothing_reserved(source)


async def test_cancelled_it_ends_between_two_jobs(
    server: AnyServer, other: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    async with client_of(server) as source, client_of(other) as target:
        kinds = [*EVERY, *EVERY] * 20
        await populate(source, kinds)
        summary = Summary()
        moving = asyncio.ensure_future(_moved(source, target, summary))
        await until(lambda: summary.done)
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        assert summary.interrupted
        assert 0 < summary.done < len(kinds)
        same(await population(target), kinds[: summary.done])
        same(await population(source), kinds[summary.done :])
        await nothing_reserved(source)


async def test_few_jobs_of_a_server_whose_ids_have_gone_far_are_found_without_a_look_at_all(
    server: AnyServer,
) -> None:
    async with client_of(server) as client:
        ids = await client.put_many([b"x"] * 3000)
        await asyncio.gather(*(client.delete(each) for each in ids))
        await populate(client, EVERY)
        # What happened to it before must not be taken for something that happened meanwhile.
        worn = await client.reserve_job(3002)
        await worn.release(0, delay=1000)
        await client.kick_job(3002)
        summary = await move(client, select("a"), tube="b")
        assert (summary.done, summary.ok) == (len(EVERY), True)
        assert summary.range is None
        same(
            await population(client, "b"), [each._replace(tube="b") for each in EVERY],
            ordered=False,
        )  # fmt: skip


# --- scripted ---------------------------------------------------------------------------------


@contextmanager
def started(server: Embedded) -> Iterator[Embedded]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def target_server() -> AsyncIterator[Embedded]:
    """An embedded server, to be used with ``async with`` as the others are."""
    with started(Embedded()) as server:
        yield server


def job_stats(state: str, reserves: int = 0) -> bytes:
    data = (
        f"---\nid: 1\ntube: a\nstate: {state}\npri: 3\nage: 1\ndelay: 0\nttr: 9\ntime-left: 0\n"
        f"file: 0\nreserves: {reserves}\ntimeouts: 0\nreleases: 0\nburies: 0\nkicks: 0\n"
    ).encode()
    return b"OK %d\r\n%b\r\n" % (len(data), data)


async def play_source(
    line: Line,
    state: str,
    deleted: bytes | None,
    before_delete: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Play a server with one job, which is in the tube a and in this state.

    :param deleted: the reply to its delete; None: the connection ends before it
    :param before_delete: is called before that reply
    """
    tube = f"---\ncurrent-jobs-{state}: 1\n".encode()
    server = b"---\ncmd-put: 1\nbinlog-current-index: 0\nmax-job-size: 9\n"
    replies = {
        b"stats": b"OK %d\r\n%b\r\n" % (len(server), server),
        b"stats-tube a": b"OK %d\r\n%b\r\n" % (len(tube), tube),
        b"stats-job 1": job_stats(state),
        b"peek 1": b"FOUND 1 1\r\nx\r\n",
        b"reserve-job 1": b"RESERVED 1 1\r\nx\r\n",
        b"delete 1": deleted,
    }
    while (command := await line.command()) != b"quit":
        reply = replies[command]
        if command == b"delete 1" and before_delete is not None:
            await before_delete()
        if reply is None:
            return
        line.send(reply)
        if command == b"reserve-job 1":
            replies[b"stats-job 1"] = job_stats("reserved", reserves=1)
