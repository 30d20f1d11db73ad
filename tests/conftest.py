"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

from .support.beanstalkd import EXECUTABLE, Beanstalkd
from .support.both import KINDS, Kind
from .support.embedded import AnyServer, Apart, Embedded

TEST_TIMEOUT = 30  # seconds; a test that takes longer hangs

# Certificates of tests come from authorities of their own. To read the hundred and forty of the
# system takes 30 ms for each of hundreds of contexts, here and in the processes that are started.
os.environ["SSL_CERT_FILE"] = os.devnull

# On a busy machine an example may take any time: no test is about that.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and inspect.iscoroutinefunction(item.obj)
            and item.get_closest_marker("gen_test") is None
        ):
            item.add_marker(pytest.mark.gen_test(timeout=TEST_TIMEOUT))


def pytest_collection_finish() -> None:
    # What is there now stays: the thousands of tests, and all modules. The garbage collections
    # that tests ask for need not look at it, which would take a fifth of a second each time.
    gc.collect()
    gc.freeze()


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A loop for each test, in the place of pytest-tornado's, which warns on today's Tornado.

    At the end nothing may be left running on it, and nothing may have been reported to it.
    """
    loop = asyncio.new_event_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(str(context)))
    asyncio.set_event_loop(loop)
    try:
        io_loop = IOLoop.current()
        yield io_loop
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        io_loop.close()
    finally:
        asyncio.set_event_loop(None)
    assert not left, "tasks were left running"
    assert not reported, "errors were reported to the loop"


@pytest.fixture
def beanstalkd() -> Iterator[Beanstalkd]:
    """A real server, fresh for the test."""
    if EXECUTABLE is None:
        pytest.skip("beanstalkd is not installed")
    server = Beanstalkd()
    server.start()
    yield server
    server.stop()


def either(
    request: pytest.FixtureRequest, embedded: type[Embedded] | type[Apart]
) -> Iterator[Any]:
    if request.param == "beanstalkd":
        yield request.getfixturevalue("beanstalkd")
        return
    server = embedded()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["beanstalkd", "embedded"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A real server and the embedded one, each fresh for the test."""
    yield from either(request, Embedded)


@pytest.fixture(params=["beanstalkd", "embedded"])
def apart(request: pytest.FixtureRequest) -> Iterator[Beanstalkd]:
    """A real server and the embedded one, each in a process of its own and fresh for the test."""
    yield from either(request, Apart)


@pytest.fixture(params=KINDS, ids=["async", "blocking"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The class of the client: of either kind."""
    found: Kind = request.param
    return found


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pools wait for each of their servers at first, however busy the machine is."""
    monkeypatch.setattr("beanstalkt.pool.connections.CONNECT_GRACE", 20.0)
