"""The pytest plugin, as it is in a user's tests."""

from __future__ import annotations

import importlib.metadata
import socket
import threading

import pytest

from beanstalkt.testing import EmbeddedServer

pytest_plugins = ["pytester"]

TORNADO = """
import pytest

@pytest.mark.gen_test
async def test_with_tornado(beanstalkt_client):
    job_id = await beanstalkt_client.put("hello")
    job = await beanstalkt_client.reserve()
    assert (job.id, job.body) == (job_id, b"hello") == (1, b"hello")
    await job.delete()

@pytest.mark.gen_test
async def test_the_next_gets_a_fresh_server(beanstalkt_client, beanstalkd_server):
    assert await beanstalkt_client.put("hello", tube="again") == 1

@pytest.fixture
def io_loop():
    # pytest-tornado's own warns on today's Tornado.
    import asyncio
    from tornado.ioloop import IOLoop
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield IOLoop.current()
    IOLoop.current().close()
    asyncio.set_event_loop(None)
"""

ASYNCIO = """
import asyncio
import pytest
import beanstalkt

@pytest.mark.asyncio
async def test_with_asyncio(beanstalkt_client):
    assert await beanstalkt_client.put("hello") == 1
    job = await beanstalkt_client.reserve()
    await job.delete()

@pytest.mark.asyncio
async def test_a_restart_loses_the_jobs(beanstalkt_client, beanstalkd_server):
    await beanstalkt_client.put("hello")
    again = asyncio.Event()
    beanstalkt_client.set_reconnect_callback(again.set)
    beanstalkd_server.restart()
    await again.wait()
    assert await beanstalkt_client.put("hello") == 1

@pytest.mark.asyncio
async def test_a_connection_that_is_dropped(beanstalkt_client, beanstalkd_server):
    await beanstalkt_client.put("hello")
    job = await beanstalkt_client.reserve()
    beanstalkd_server.drop_connections()
    with pytest.raises(beanstalkt.ConnectionLost):
        await job.delete()

@pytest.mark.asyncio
async def test_a_reply_that_does_not_come(beanstalkt_client, beanstalkd_server):
    with beanstalkd_server.pause_replies():
        put = asyncio.ensure_future(beanstalkt_client.put("hello"))
        done, _ = await asyncio.wait([put], timeout=0.05)
        assert not done
    assert await put == 1

def test_blocking(beanstalkd_server):
    assert beanstalkd_server.url.startswith("beanstalk://127.0.0.1:")
"""

NEITHER = """
def test_neither(beanstalkt_client):
    pass
"""

INI = """
[pytest]
filterwarnings =
    error
    ignore:The hookimpl pytest_
    ignore:pkg_resources is deprecated
    ignore:Deprecated call to `pkg_resources
"""


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    pytester.makeini(INI)
    return pytester.runpytest_subprocess(*options, timeout=60)


def test_with_pytest_tornado(pytester: pytest.Pytester) -> None:
    run(pytester, TORNADO, "-p", "no:asyncio").assert_outcomes(passed=2)


def test_with_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    ini = "asyncio_default_fixture_loop_scope=function"
    run(pytester, ASYNCIO, "-p", "no:tornado", "-o", ini).assert_outcomes(passed=5)


def test_with_both_at_once(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    ini = "asyncio_default_fixture_loop_scope=function"
    pytester.makepyfile(test_tornado=TORNADO)
    run(pytester, ASYNCIO, "-o", ini).assert_outcomes(passed=7)


def test_with_neither_it_says_what_is_missing(pytester: pytest.Pytester) -> None:
    result = run(pytester, NEITHER, "-p", "no:asyncio", "-p", "no:tornado")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs pytest-asyncio, or pytest-tornado's io_loop*"])


def test_the_plugin_is_registered() -> None:
    points = importlib.metadata.entry_points(group="pytest11")
    assert points["beanstalkt"].value == "beanstalkt.testing"


def ask(server: EmbeddedServer, command: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(command)
        return sock.recv(1000)


def test_a_restart_keeps_the_port_and_nothing_else(beanstalkd_server: EmbeddedServer) -> None:
    port = beanstalkd_server.port
    assert ask(beanstalkd_server, b"put 0 0 1 0\r\n\r\n") == b"INSERTED 1\r\n"
    beanstalkd_server.restart()
    assert beanstalkd_server.port == port
    assert ask(beanstalkd_server, b"put 0 0 1 0\r\n\r\n") == b"INSERTED 1\r\n"


def test_stopped_it_refuses_connections(beanstalkd_server: EmbeddedServer) -> None:
    beanstalkd_server.stop()
    beanstalkd_server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(beanstalkd_server, b"stats\r\n")
    with pytest.raises(RuntimeError, match="does not run"):
        beanstalkd_server.drop_connections()


def test_nothing_is_left_of_it() -> None:
    before = threading.active_count()
    server = EmbeddedServer()
    server.start()
    server.start()
    assert threading.active_count() == before + 1
    server.stop()
    assert threading.active_count() == before


def test_a_port_that_is_taken_is_told_and_leaves_nothing() -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        EmbeddedServer(taken.getsockname()[1]).start()
    assert threading.active_count() == before


def test_draining(beanstalkd_server: EmbeddedServer) -> None:
    beanstalkd_server.drain()
    assert ask(beanstalkd_server, b"put 0 0 1 0\r\n\r\n") == b"DRAINING\r\n"


def test_replies_that_are_kept_back_come_in_the_end(beanstalkd_server: EmbeddedServer) -> None:
    address = (beanstalkd_server.host, beanstalkd_server.port)
    with socket.create_connection(address, timeout=10) as sock:
        with beanstalkd_server.pause_replies():
            sock.sendall(b"put 0 0 1 0\r\n\r\n")
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(100)
        sock.settimeout(10)
        assert sock.recv(100) == b"INSERTED 1\r\n"
