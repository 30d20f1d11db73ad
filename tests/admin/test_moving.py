"""Jobs that are moved and copied keep all that they have, while others take from their tubes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanstalkt import InvalidArgument
from beanstalkt.admin import copy, move, select
from beanstalkt.admin import moving as module

from ..support.beanstalkd import EXECUTABLE, Beanstalkd
from ..support.clients import client_of, nothing_reserved
from ..support.embedded import AnyServer, Embedded
from ..support.population import KINDS, Kind, empty, kind, populate, population, same
from ..support.waiting import until

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
    other.signal(signal.SIGUSR1)
    await until(lambda: other.ask(b"put 0 0 1 0\r\n\r\n") == b"DRAINING\r\n")
    async with client_of(server) as source, client_of(other) as target:
        await populate(source, kinds)
        summary = await move(source, select("a"), to=target, on_error=on_error)
        assert summary.done == 0
        assert summary.failed == len(kinds) if on_error == "skip" else 2 <= summary.failed <= 6
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
