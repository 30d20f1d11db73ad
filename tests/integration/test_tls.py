"""The client over TLS: a proxy ends it in front of a real server."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from beanstalkt import Client, ConnectionLost, Job, NotFound, ReservationLost
from beanstalkt.client.timing import Timing

from ..support.beanstalkd import EXECUTABLE, Beanstalkd
from ..support.both import KINDS, InThread
from ..support.embedded import Apart
from ..support.leftovers import nothing_left
from ..support.proxy import Proxy
from ..support.waiting import until

DELAY = 0.02  # seconds between two attempts


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["beanstalkd", "embedded"])
def apart(request: pytest.FixtureRequest) -> Iterator[Beanstalkd]:
    """One that takes big bodies."""
    server: Beanstalkd
    if request.param == "embedded":
        server = Apart("--max-job-size", "20000000")
    elif EXECUTABLE is None:
        pytest.skip("beanstalkd is not installed")
    else:
        server = Beanstalkd("-z", "20000000")
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def proxy_of(server: Beanstalkd, context: ssl.SSLContext) -> AsyncIterator[Proxy]:
    async with nothing_left(), Proxy(server.host, server.port, context) as proxy:
        yield proxy


Kind = type[Client]


@pytest.fixture(params=KINDS, ids=["async", "blocking"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The class of the client: of either kind."""
    found: Kind = request.param
    return found


def client_of(
    proxy: Proxy, context: ssl.SSLContext, kind: Kind = Client, **options: Any
) -> Client:
    url = f"beanstalks://{proxy.host}:{proxy.port}"
    return kind.from_url(url, ssl_options=context, reconnect_delay=DELAY, **options)


async def test_verbs(
    kind: Kind, apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting, kind) as client:
        assert await client.use("x") == "x"
        assert await client.watch("x") == 2
        assert await client.put(b"job", 7) == 1
        job = await client.reserve()
        assert job == {"id": 1, "body": b"job"}
        await job.touch()
        await job.bury(None)
        assert (await client.stats_job(1))["pri"] == 7
        assert await client.kick() == 1
        assert (await client.peek_ready()).id == 1
        await client.delete(1)
        with pytest.raises(NotFound):
            await client.peek(1)
        assert (await client.stats())["cmd-put"] == 1
        # The proxy understood it, so it was encrypted.
        assert b"put 7 0 120 3\r\njob\r\n" in proxy.up.passed


async def test_an_idle_connection_is_kept(
    kind: Kind, apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """What TLS says by itself, such as session tickets, is no reply."""
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting, kind) as client:
        for number in range(3):
            await asyncio.sleep(0.05)
            assert await client.put(b"job") == number + 1
        assert proxy.accepted == 1
        await proxy.cut()
        await asyncio.sleep(0.05)
        await until(lambda: isinstance(client, InThread) or not client.closed())
        assert await client.put(b"job") == 4


async def test_a_silent_server_is_noticed(
    kind: Kind, apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with (
        proxy_of(apart, server_side) as proxy,
        client_of(proxy, trusting, kind, response_timeout=0.3) as client,
    ):
        proxy.down.open.clear()
        with pytest.raises(ConnectionLost, match=r"within 0\.3 s"):
            await client.put(b"job")
        if isinstance(client, InThread):
            # What had come before is read, but another response_timeout is not waited for.
            connection = client.blocking.connection
            assert connection is not None
            assert connection._sock.gettimeout() == 0
        proxy.down.open.set()


async def test_a_waiting_reserve_wakes_up(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with (
        proxy_of(apart, server_side) as proxy,
        client_of(proxy, trusting) as client,
        client_of(proxy, trusting) as other,
    ):
        for number in range(50):
            reserve = client.reserve()
            await other.put(b"%d" % number)
            job = await reserve
            assert job.body == b"%d" % number
            await job.delete()


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 1_000_000, 15_000_000])
async def test_bodies_of_any_size_both_ways(
    kind: Kind, apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext, size: int
) -> None:
    body = os.urandom(size)
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting, kind) as client:
        put, peek, reserve = client.put(body), client.peek(1), client.reserve(0)
        assert await put == 1
        assert (await peek).body == body
        job = await reserve
        assert job.body == body
        await job.delete()


async def test_pipelines_of_thousands(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    count = 5000
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting) as client:
        puts = [client.put(b"%d" % number) for number in range(count)]
        assert await asyncio.gather(*puts) == list(range(1, count + 1))
        jobs = await asyncio.gather(*(client.reserve(0) for _ in range(count)))
        assert [job.body for job in jobs] == [b"%d" % number for number in range(count)]
        await asyncio.gather(*(job.delete() for job in jobs))
        ids = await client.put_many(b"%d" % number for number in range(count))
        assert ids == list(range(count + 1, 2 * count + 1))
        peeks = await asyncio.gather(*(client.peek(job_id) for job_id in ids))
        assert [job.body for job in peeks] == [b"%d" % number for number in range(count)]


async def test_many_big_bodies_while_as_many_come_back(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    body = os.urandom(300_000)
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting) as client:
        pairs = [(client.put(body), client.reserve(0)) for _ in range(30)]
        for put, reserve in pairs:
            assert (await reserve) == {"id": await put, "body": body}


@pytest.mark.parametrize("fault", ["unknown authority", "other host", "no tls"])
async def test_a_wrong_certificate_is_refused(
    fault: str,
    apart: Beanstalkd,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context: ssl.SSLContext | None = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if fault == "unknown authority":
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    elif fault == "other host":
        authority.issue_cert("other.example").configure_cert(context)
    else:
        context = None
    async with nothing_left(), Proxy(apart.host, apart.port, context) as proxy:
        client = client_of(proxy, trusting, connect_timeout=0.3)
        with pytest.raises(ConnectionLost) as error:
            await client.connect()
        reason = {
            "unknown authority": "certificate verify failed",
            "other host": "mismatch",
            "no tls": "",
        }
        assert reason[fault] in str(error.value)
        assert b"put" not in proxy.up.passed
        assert proxy.accepted < 30
        # The reason is told without an error's own notation.
        assert "Error(" not in str(error.value)
    # It is not told by Tornado as well, and with each attempt.
    assert {each.name for each in caplog.records} <= {"asyncio", "beanstalkt"}  # asyncio's proxy


async def test_a_server_without_tls_that_says_nothing(
    kind: Any, apart: Beanstalkd, trusting: ssl.SSLContext
) -> None:
    apart.freeze()
    async with nothing_left():
        url = f"beanstalks://{apart.host}:{apart.port}"
        # Whether the attempt has ended by itself, or is ended at the end of the caller's time.
        for attempt in (0.2, 10):
            client = kind.from_url(
                url,
                ssl_options=trusting,
                connect_timeout=0.5,
                timing=Timing(attempt_timeout=attempt),
            )
            with pytest.raises(ConnectionLost, match="did not answer the TLS handshake"):
                await client.connect()
            await client.close()
    apart.thaw()


async def test_a_cut_connection_is_replaced(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    restored = asyncio.Event()
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting) as client:
        client.set_reconnect_callback(restored.set)
        await client.use("x")
        await client.watch("x")
        for number in range(5):
            await client.put(b"job")
            job = await client.reserve()
            reserve = client.reserve()
            restored.clear()
            await proxy.cut()
            await restored.wait()
            with pytest.raises(ReservationLost):
                await job.delete()
            again = await reserve
            assert again.id == job.id == number + 1
            await again.delete()
            assert await client.list_tube_used() == "x"


async def test_cut_in_the_middle_of_bodies(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    body = os.urandom(100_000)
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting) as client:
        for position in (1, 1000, 50_000, 99_999, 100_020):
            for way in (proxy.up, proxy.down):
                await until(lambda: not client.closed())
                way.left = position
                put, reserve = client.put(body), client.reserve(0)
                outcomes: list[int | Job | BaseException] = [
                    *await asyncio.gather(put, reserve, return_exceptions=True)
                ]
                assert any(isinstance(outcome, ConnectionLost) for outcome in outcomes)
                for outcome in outcomes:
                    if isinstance(outcome, Job):
                        assert outcome.body == body
                    elif isinstance(outcome, BaseException):
                        assert isinstance(outcome, ConnectionLost)
                        assert "ssl" not in type(outcome.__cause__).__name__.lower()
        await until(lambda: not client.closed())
        await client.put(b"after all")


async def test_a_stalled_server_and_close(
    apart: Beanstalkd,
    server_side: ssl.SSLContext,
    trusting: ssl.SSLContext,
) -> None:
    async with proxy_of(apart, server_side) as proxy:
        client = client_of(proxy, trusting, timing=Timing(close_timeout=0.1))
        await client.connect()
        proxy.up.open.clear()
        big, small, reserve = client.put(bytes(15_000_000)), client.put(b"job"), client.reserve()
        await asyncio.wait_for(client.close(), 5)
        for future, sent in ((big, True), (small, False), (reserve, False)):
            with pytest.raises(ConnectionLost) as error:
                await future
            assert error.value.sent == sent
        proxy.up.open.set()


async def test_puts_that_nobody_waited_for_go_in_before_close(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with proxy_of(apart, server_side) as proxy:
        client = client_of(proxy, trusting)
        await client.connect()
        puts = [client.put(b"job") for _ in range(3000)]
        await client.close()
        assert [put.result() for put in puts] == list(range(1, 3001))


async def test_a_frozen_server_is_noticed(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with (
        proxy_of(apart, server_side) as proxy,
        client_of(proxy, trusting, response_timeout=0.1) as client,
    ):
        await client.put(b"job")
        apart.freeze()
        with pytest.raises(ConnectionLost, match="within"):
            await client.put(b"job")
        apart.thaw()
        await until(lambda: not client.closed())
        with suppress(ConnectionLost):
            await client.put(b"job")


async def test_a_put_that_counts_as_unsent_is_not_there(
    apart: Beanstalkd, server_side: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Though many left in one write, of which the socket took only a part."""
    async with proxy_of(apart, server_side) as proxy, client_of(proxy, trusting) as client:
        await client.use("x")
        said = len(proxy.up.passed)
        proxy.up.open.clear()
        puts = [client.put(b"%05d" % number + bytes(10_000)) for number in range(1500)]
        await asyncio.sleep(0.05)
        proxy.up.left = 2_000_000
        proxy.up.open.set()
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        received = proxy.up.passed[said:]
        unsent = 0
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, ConnectionLost) and not outcome.sent:
                assert b"\r\n%05d\0" % number not in received
                unsent += 1
        assert unsent > 100
