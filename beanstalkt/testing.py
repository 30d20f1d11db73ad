"""A pytest plugin that gives each test a beanstalkd, without installing one.

Fixtures:

``beanstalkd_server``
    A new :class:`EmbeddedServer`. It runs in a thread of its own, so that tests of every kind can
    use it: those of pytest-tornado, those of pytest-asyncio, and those of blocking code.

``beanstalkt_client``
    A :class:`~beanstalkt.Client` that is connected to ``beanstalkd_server``. The test must be one
    of pytest-tornado, whose fixture ``io_loop`` is the client's loop, or of pytest-asyncio.
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

_CALL_TIMEOUT = 10
"""Seconds after which a call into the server's thread fails. It normally returns at once."""


class EmbeddedServer:
    """Run a :class:`beanstalkt.server.Server` in a thread of its own.

    The methods block until the server has done what they say, which takes milliseconds. Those that
    need a running server raise RuntimeError if it does not run.

    :param port: the port to listen on; 0 for a free one, which :meth:`restart` keeps
    :param max_job_size: bytes of the largest body that a job may have
    """

    def __init__(self, port: int = 0, max_job_size: int = 65535) -> None:
        self.host = HOST
        #: the port that the server listens on; 0 until the first start if any free one will do
        self.port = port
        self.max_job_size = max_job_size
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Return the server's address, as :meth:`beanstalkt.Client.from_url` accepts it."""
        return f"beanstalk://{self.host}:{self.port}"

    def start(self) -> None:
        """Start the server, without any jobs, unless it runs already.

        Raises OSError if the port is in use.
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
        """Stop the server and close all connections to it, unless it is stopped already."""
        if self._thread is None or self._loop is None:
            return
        if self._server is not None:
            self._call(self._server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT)
        self._loop.close()
        self._thread = self._loop = self._server = None

    def restart(self) -> None:
        """Stop the server and start it again on the same port.

        As with a beanstalkd that has no binlog, all connections and jobs are lost, and the ids of
        new jobs begin at 1 again.
        """
        self.stop()
        self.start()

    def drop_connections(self) -> None:
        """Close every connection, but keep the server running.

        The jobs that were reserved through these connections become ready again.
        """
        self._call(self._running.drop_connections)

    def pause_replies(self) -> PausedReplies:
        """Keep all replies back, although commands are still executed.

        Call :meth:`resume_replies` to send them, or use the result in a ``with`` statement, at the
        end of which they are sent.
        """
        self._call(self._running.pause_replies)
        return PausedReplies(self)

    def resume_replies(self) -> None:
        """Send the replies that were kept back since :meth:`pause_replies`."""
        self._call(self._running.resume_replies)

    def drain(self) -> None:
        """Refuse new jobs, as beanstalkd does after the signal SIGUSR1."""
        self._call(self._running.drain)

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the server does not run: call start() first")
        return self._server

    def _listen(self) -> None:
        from beanstalkt.server import Server

        server = Server(self.max_job_size)
        # Not by listen(): Tornado would leave a socket unclosed if the port is in use, and Python
        # would warn of it.
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
        """Call a function on the server's loop; return what it returns."""

        async def call() -> T:
            return function()

        if self._loop is None:
            raise RuntimeError("the server does not run: call start() first")
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_CALL_TIMEOUT)


class PausedReplies:
    """Send the replies of a server at the end of a ``with`` statement.

    This is the result of :meth:`EmbeddedServer.pause_replies`.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._server.resume_replies()


@pytest.fixture
def beanstalkd_server() -> Iterator[EmbeddedServer]:
    """Start a new embedded server for one test, and stop it after that.

    Its :attr:`~EmbeddedServer.url` is for the client under test; its methods simulate failures.
    """
    server = EmbeddedServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def beanstalkt_client(request: pytest.FixtureRequest) -> Client:
    """Connect a client to `beanstalkd_server` on the loop of the test, and close it after that."""
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
    """Register the fixture for tests of pytest-asyncio, if that is installed and in use.

    Only pytest-asyncio's own decorator makes a fixture that runs on the loop of its tests.
    """
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
    # Imported here, because every run of pytest loads this plugin, and few need a client.
    from beanstalkt import Client

    return Client(server.host, server.port)
