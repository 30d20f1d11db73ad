"""A pytest plugin: a beanstalkd for each test, with nothing to install but this package.

Fixtures:

``beanstalkd_server``
    A fresh :class:`EmbeddedServer`. It runs in a thread of its own, so it suits every kind of
    test: pytest-tornado, pytest-asyncio, or blocking code.

``beanstalkt_client``
    A :class:`~beanstalkt.Client` that is connected to it, in a test of pytest-tornado (on the
    loop of its ``io_loop``) or of pytest-asyncio.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

    from beanstalkt import Client
    from beanstalkt.server import Server

T = TypeVar("T")

HOST = "127.0.0.1"

_CALL_TIMEOUT = 10  # seconds; the server's thread answers at once, or something is badly wrong


class EmbeddedServer:
    """A :class:`beanstalkt.server.Server` in a thread of its own. Its methods block, but briefly.

    :param port: 0: one that is free, and the same one after each :meth:`restart`
    :param max_job_size: bytes
    """

    def __init__(self, port: int = 0, max_job_size: int = 65535) -> None:
        self.host = HOST
        #: the port it listens on; 0 until it is started first
        self.port = port
        self.max_job_size = max_job_size
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The address as :meth:`beanstalkt.Client.from_url` takes it."""
        return f"beanstalk://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it, with no jobs; nothing happens if it runs.

        Raises OSError: the port is taken.
        """
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop,), name="beanstalkd", daemon=True
        )
        self._thread.start()
        try:
            self._call(self._listen)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it: connections are closed, new ones refused. Nothing happens if it does not run."""
        if self._thread is None or self._loop is None:
            return
        if self._server is not None:
            self._call(self._server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT)
        self._loop.close()
        self._thread = self._loop = self._server = None

    def restart(self) -> None:
        """As when beanstalkd is restarted without a binlog: connections are lost, jobs are gone,
        and ids begin at 1 again."""
        self.stop()
        self.start()

    def drop_connections(self) -> None:
        """Close every connection. The server goes on: what they had reserved is ready again."""
        self._call(self._running.drop_connections)

    def pause_replies(self) -> PausedReplies:
        """From now on commands are carried out, but no reply comes.

        It ends with :meth:`resume_replies`, or with a ``with`` block around the result.
        """
        self._call(self._running.pause_replies)
        return PausedReplies(self)

    def resume_replies(self) -> None:
        """Let the replies go that were kept back."""
        self._call(self._running.resume_replies)

    def drain(self) -> None:
        """Take no more jobs, as beanstalkd after SIGUSR1."""
        self._call(self._running.drain)

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the server does not run")
        return self._server

    def _listen(self) -> None:
        from beanstalkt.server import Server

        server = Server(self.max_job_size)
        # Not listen(): where the port is taken, Tornado's own leaves a socket to be warned of.
        server.add_socket(socket.create_server((self.host, self.port)))
        self.port = server.address[1]
        self._server = server

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            asyncio.set_event_loop(None)

    def _call(self, function: Callable[[], T]) -> T:
        """Run the function on the server's loop, and wait for what it gives."""

        async def call() -> T:
            return function()

        if self._loop is None:
            raise RuntimeError("the server does not run")
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_CALL_TIMEOUT)


class PausedReplies:
    """What :meth:`EmbeddedServer.pause_replies` gives: at the end of a block, replies go again."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._server.resume_replies()


@pytest.fixture
def beanstalkd_server() -> Iterator[EmbeddedServer]:
    """A fresh server for the test: its ``.url``, and ways to rehearse trouble."""
    server = EmbeddedServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def beanstalkt_client(request: pytest.FixtureRequest) -> Client:
    """A client that is connected to `beanstalkd_server`, on the loop of the test."""
    if "io_loop" in request.fixturenames:
        fixture = "_beanstalkt_client_of_tornado"
    elif request.config.pluginmanager.hasplugin("asyncio"):
        fixture = "_beanstalkt_client_of_asyncio"
    else:
        pytest.fail("beanstalkt_client needs pytest-asyncio, or pytest-tornado's io_loop")
    return cast("Client", request.getfixturevalue(fixture))


@pytest.fixture
def _beanstalkt_client_of_tornado(
    io_loop: IOLoop, beanstalkd_server: EmbeddedServer
) -> Iterator[Client]:
    client = _client(beanstalkd_server)
    io_loop.run_sync(client.connect)
    yield client
    io_loop.run_sync(client.close)


def pytest_configure(config: pytest.Config) -> None:
    """For pytest: only pytest-asyncio can make a fixture on the loop of its tests."""
    if not config.pluginmanager.hasplugin("asyncio"):
        return
    import pytest_asyncio

    class Fixtures:
        @pytest_asyncio.fixture
        async def _beanstalkt_client_of_asyncio(
            self, beanstalkd_server: EmbeddedServer
        ) -> AsyncIterator[Client]:
            client = _client(beanstalkd_server)
            await client.connect()
            yield client
            await client.close()

    config.pluginmanager.register(Fixtures(), "beanstalkt-asyncio")


def _client(server: EmbeddedServer) -> Client:
    # Not at the top: every run of pytest loads this plugin, and few need the client.
    from beanstalkt import Client

    return Client(server.host, server.port)
