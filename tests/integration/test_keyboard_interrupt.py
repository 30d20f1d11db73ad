"""KeyboardInterrupt, and whatever else a signal's handler raises, at any line of the client.

A signal's handler runs between any two steps of a program. Afterwards the program may catch what
was raised and go on with the same loop and the same client: every reply must still reach its own
caller, and nothing may wait for ever.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from beanstalkt import Client, ConnectionLost, NotFound

from ..support.beanstalkd import Beanstalkd
from ..support.interruption import Interruption
from ..support.leftovers import descriptors

T = TypeVar("T")

PACKAGE = Path(sys.modules[Client.__module__].__file__ or "").parent
PROTOCOL = PACKAGE.parent / "protocol"
WAIT = 10  # seconds; far less than response_timeout


class Load:
    """Uses a client in all the ways that write and read, and knows what belongs to what."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.futures: list[asyncio.Future[Any]] = []
        self.bodies: dict[asyncio.Future[int], bytes] = {}

    def put(self, body: bytes, **options: Any) -> asyncio.Future[int]:
        put = self.client.put(body, **options)
        self.bodies[put] = body
        return self.all(put)

    def all(self, future: asyncio.Future[T]) -> asyncio.Future[T]:
        self.futures.append(future)
        # What failed is looked at in the end.
        future.add_done_callback(lambda future: future.cancelled() or future.exception())
        return future

    async def connect(self) -> None:
        await self.client.connect()

    async def close(self) -> None:
        await self.client.close()

    async def run(self) -> None:
        client = self.client
        await self.put(b"one")
        puts = [self.put(b"%d" % number) for number in range(3)]
        puts += [self.put(b"there", tube="there"), self.put(b"elsewhere", tube="elsewhere")]
        await asyncio.gather(*puts, self.all(client.watch("there")))
        job = await self.all(client.reserve(5))
        await asyncio.gather(
            self.all(client.release(job, None, 100)), self.all(client.use("default"))
        )
        reserve = self.all(client.reserve(5))
        held = self.put(b"held")
        job = await reserve
        await asyncio.gather(held, self.all(client.bury(job)))
        with pytest.raises(NotFound):
            await self.all(client.delete(10**6))
        await self.all(client.put_many([b"many"] * 3, delay=100))

    async def lose(self) -> None:
        """Loses the connection, and waits for the next one."""
        connection = self.client._reconnector.connection
        assert connection is not None
        connection.abort_closing()
        await self.all(self.client.connect())
        await self.put(b"again")

    async def move(self) -> None:
        """Leaves a connection on which a reserve waits that nobody wants."""
        await self.put(b"one")
        await self.all(self.client.watch("empty"))
        await self.all(self.client.ignore("default"))
        reserve = self.all(self.client.reserve())
        await asyncio.sleep(0)  # it is written
        reserve.cancel()
        await self.put(b"moved")
        await asyncio.gather(
            self.all(self.client.watch("default")), self.all(self.client.ignore("empty"))
        )

    async def check(self) -> None:
        """Whatever happened, each future has its own result or an error, and puts still work."""
        client = self.client
        deadline = time.monotonic() + WAIT
        while True:
            try:
                body = b"after %d" % len(self.bodies)
                await asyncio.wait_for(self.put(body), WAIT)
                break
            except ConnectionLost:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
        _, pending = await asyncio.wait(self.futures, timeout=WAIT)
        assert not pending
        assert await client.list_tube_used() == client.using == "default"
        for put, body in self.bodies.items():
            if not put.cancelled() and put.exception() is None:
                assert (await client.peek(put.result())).body == body
        assert set(await client.list_tubes_watched()) == client.watching


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def interrupted(
    loop: asyncio.AbstractEventLoop,
    server: Beanstalkd,
    at: int,
    modules: tuple[str, ...],
    what: Callable[[Load], Coroutine[Any, Any, None]] = Load.run,
) -> Interruption:
    """What happened to a load that was interrupted so, once it is checked."""
    client = Client(server.host, server.port, reconnect_delay=0.001)
    load = Load(client)
    before = descriptors()
    interruption = Interruption(
        at,
        {str(folder / f"{name}.py") for name in modules for folder in (PACKAGE, PROTOCOL)},
        ("try:",),  # no signal's handler runs where the interpreter only enters a block
    )
    loop.run_until_complete(load.connect())
    step = loop.create_task(what(load))
    try:
        with interruption:
            loop.run_until_complete(step)
    except (KeyboardInterrupt, ConnectionLost):
        pass
    try:
        step.cancel()
        ending: list[Callable[[], Coroutine[Any, Any, object]]]
        ending = [lambda: asyncio.wait([step], timeout=WAIT), load.check, load.close]
        while ending:
            # A task that awaited the one which was interrupted gets to know, and its loop as well.
            with suppress(KeyboardInterrupt):
                loop.run_until_complete(ending[0]())
                del ending[0]
        assert descriptors() == before
    except BaseException:
        print("interrupted at", interruption.where)
        raise
    return interruption


@pytest.mark.parametrize(
    "modules",
    [
        ("connection",),
        ("transport",),
        ("client", "tubes"),
        ("pipeline", "requests", "timeouts", "reserve_future", "put_many"),
        ("parser", "commands", "results"),
    ],
    ids=" ".join,
)
def test_at_any_line(
    loop: asyncio.AbstractEventLoop, beanstalkd: Beanstalkd, modules: tuple[str, ...]
) -> None:
    at = 0
    while True:
        at += 1
        if interrupted(loop, beanstalkd, at, modules).where == "nowhere":
            break
    assert at > 50


def test_at_any_line_of_connecting_again(
    loop: asyncio.AbstractEventLoop, beanstalkd: Beanstalkd
) -> None:
    at = 0
    while True:
        at += 1
        if interrupted(loop, beanstalkd, at, ("reconnecting",), Load.lose).where == "nowhere":
            break
    assert at > 20


@pytest.mark.parametrize("module", ["moving", "reconnecting", "connection", "pipeline"])
def test_at_any_line_of_moving(
    loop: asyncio.AbstractEventLoop, beanstalkd: Beanstalkd, module: str
) -> None:
    at = 0
    while True:
        at += 1
        if interrupted(loop, beanstalkd, at, (module,), Load.move).where == "nowhere":
            break
    assert at > 20


async def test_a_call_that_the_loop_has_dropped_is_made_up_for(beanstalkd: Beanstalkd) -> None:
    """What a signal's handler raises in the loop itself drops the call that was to be made."""
    async with Client(beanstalkd.host, beanstalkd.port) as client:
        puts = [client.put(b"one"), client.put(b"two")]
        ready: Any = asyncio.get_running_loop()
        dropped = [handle for handle in ready._ready if "_flush" in repr(handle)]
        for handle in dropped:
            handle.cancel()
        assert dropped
        assert await asyncio.wait_for(asyncio.gather(*puts), WAIT) == [1, 2]
