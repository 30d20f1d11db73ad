"""Reading in bulk for put_many, and what comes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost
from beanstalkt.client import puts
from beanstalkt.protocol.arguments import check_body

from ..support.beanstalkd import Beanstalkd
from ..support.embedded import AnyServer


@pytest.mark.parametrize("tube", [None, "elsewhere"])
async def test_a_single_reply_behind_many_is_read_as_it_comes(
    server: AnyServer, tube: str | None
) -> None:
    async with Client(server.host, server.port) as client:
        for count in (1, 2, 3, 500, 513, 2000):
            await asyncio.wait_for(client.put_many([b"x"] * count, tube=tube), 10)
            await asyncio.wait_for(client.put(b"y"), 5)


async def test_commands_between_the_chunks_are_answered(server: AnyServer) -> None:
    async with Client(server.host, server.port) as client:
        put = client.put_many([b"x"] * 20_000)
        answered = 0
        while not put.done():
            assert await asyncio.wait_for(client.list_tube_used(), 5) == "default"
            answered += 1
        assert answered > 1
        assert len(await put) == 20_000


async def test_ids_come_in_the_order_of_the_bodies(server: AnyServer) -> None:
    async with Client(server.host, server.port) as client:
        ids = await client.put_many(str(number) for number in range(1500))
        for number in (0, 511, 512, 1499):
            assert (await client.peek(ids[number])).body == b"%d" % number


# --- what an iterable raises ---


class Own(BaseException):
    """Neither an Exception nor one that asyncio knows."""


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class WithIds(Exception):
    @property
    def ids(self) -> str:
        return "mine"


def bodies(count: int, error: BaseException) -> Iterator[bytes]:
    """So many bodies, and then this error. (A generator may not raise StopIteration itself.)"""
    for number in range(count):
        yield b"%d" % number
    raise error


@pytest.mark.parametrize("count", [0, 1, 2000])
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, asyncio.CancelledError, GeneratorExit, Own, Frozen, ConnectionResetError],
)
async def test_what_the_iterable_raises_reaches_the_caller(
    server: AnyServer, error: type[BaseException], count: int
) -> None:
    async with Client(server.host, server.port) as client:
        raised = error()
        with pytest.raises(error) as caught:
            await client.put_many(bodies(count, raised))
        assert caught.value is raised
        assert raised.ids == list(range(1, count + 1))  # type: ignore[attr-defined]
        assert (await client.stats())["total-jobs"] == count
        # As a value, too.
        got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        raised = error()
        put = client.put_many(bodies(count, raised), callback=got.set_result)
        assert await asyncio.wait_for(got, 10) is raised
        assert put.exception() is raised
        assert not asyncio.current_task().cancelled()  # type: ignore[union-attr]


async def test_an_error_with_ids_of_its_own_keeps_them(server: AnyServer) -> None:
    async with Client(server.host, server.port) as client:
        with pytest.raises(WithIds) as caught:
            await client.put_many(bodies(3, WithIds()))
        assert caught.value.ids == "mine"


async def test_a_body_that_raises_stop_iteration_is_not_the_end(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(server.host, server.port) as client:

        def stops(body: object) -> bytes:
            if body == b"stop":
                raise StopIteration
            return check_body(body)

        monkeypatch.setattr(puts, "check_body", stops)
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await asyncio.wait_for(client.put_many([b"one", b"stop", b"two"]), 10)
        assert caught.value.ids == [1]  # type: ignore[attr-defined]


async def test_bodies_that_were_taken_without_a_connection_have_their_none(
    server: AnyServer,
) -> None:
    async with Client(server.host, server.port) as client:
        await client.close()
        with pytest.raises(ConnectionLost) as lost:
            await client.put_many([b"one", b"two"])
        assert lost.value.ids == [None, None]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["awaited", "called back"])
def test_what_ends_a_program_comes_to_the_caller_and_out_of_the_loop(
    beanstalkd: Beanstalkd, error: type[BaseException], way: str
) -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with Client(beanstalkd.host, beanstalkd.port) as client:
            if way == "awaited":
                try:
                    await client.put_many(bodies(2000, error()))
                except error as raised:
                    seen.append(raised)
                    raise
            else:
                client.put_many(bodies(2000, error()), callback=seen.append)
                await asyncio.sleep(10)

    with pytest.raises(error):
        asyncio.run(main())
    (raised,) = seen
    assert isinstance(raised, error)
    assert raised.ids == list(range(1, 2001))  # type: ignore[attr-defined]
