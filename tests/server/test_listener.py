"""The server as clients see it through its sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from beanstalkt import Client
from beanstalkt.server import Server
from beanstalkt.server.client_socket import MAX_INPUT
from beanstalkt.server.interpreter import MAX_UNSENT

from ..support.talk import Clock

PUT = b"put 0 0 100 0\r\n\r\n"


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[Server]:
    async def start() -> Server:
        server = Server()
        server.listen(0, "127.0.0.1")
        return server

    server = io_loop.run_sync(start)
    yield server
    server.stop()
    assert not server.engine.sessions
    assert not server._client_sockets


class RawClient:
    """A connection to the server that speaks the bare protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, server: Server) -> RawClient:
        return cls(*await asyncio.open_connection(*server.address))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes) -> bytes:
        """Send `data`; return the next line from the server."""
        self.send(data)
        return await self.reader.readline()

    async def rest(self) -> bytes:
        """Return all that the server sends until it closes the connection."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_it_answers(server: Server) -> None:
    client = await RawClient.connect(server)
    assert await client.ask(PUT) == b"INSERTED 1\r\n"
    assert await client.ask(b"reserve\r\n") == b"RESERVED 1 0\r\n"
    await client.close()


async def test_one_wakes_another(server: Server) -> None:
    waiting = await RawClient.connect(server)
    waiting.send(b"reserve\r\nuse a\r\n")
    other = await RawClient.connect(server)
    assert await other.ask(b"stats\r\n") != b""
    other.send(PUT)
    lines = [await waiting.reader.readline() for _ in range(3)]
    assert lines == [b"RESERVED 1 0\r\n", b"\r\n", b"USING a\r\n"]
    await waiting.close()
    await other.close()


async def test_jobs_of_a_lost_connection_are_ready_at_once(server: Server) -> None:
    holder = await RawClient.connect(server)
    await holder.ask(PUT)
    await holder.ask(b"reserve\r\n")
    waiting = await RawClient.connect(server)
    waiting.send(b"reserve\r\n")
    holder.writer.transport.abort()
    assert await waiting.reader.readline() == b"RESERVED 1 0\r\n"
    await waiting.close()


async def test_a_half_closed_connection_gets_its_replies(server: Server) -> None:
    client = await RawClient.connect(server)
    client.send(PUT + b"reserve\r\nreserve\r\ndelete 1\r\nreserve\r\nput 0 0 0 7\r\nhalf")
    client.writer.write_eof()
    assert await client.rest() == (
        b"INSERTED 1\r\nRESERVED 1 0\r\n\r\nTIMED_OUT\r\nDELETED\r\nTIMED_OUT\r\n"
    )
    await client.close()


async def test_quit_comes_after_all_replies(server: Server) -> None:
    client = await RawClient.connect(server)
    client.send(PUT * 1000 + b"quit\r\n")
    assert (await client.rest()).count(b"INSERTED") == 1000
    await client.close()


async def test_time_passes_by_itself(server: Server) -> None:
    client = await RawClient.connect(server)
    assert await client.ask(b"put 0 1 1 0\r\n\r\n") == b"INSERTED 1\r\n"
    assert await client.ask(b"reserve\r\n") == b"RESERVED 1 0\r\n"
    await client.reader.readline()
    assert await client.ask(b"reserve-with-timeout 5\r\n") == b"DEADLINE_SOON\r\n"
    other = await RawClient.connect(server)
    assert await other.ask(b"reserve\r\n") == b"RESERVED 1 0\r\n"
    await client.close()
    await other.close()


async def test_a_clock_of_the_tests_own() -> None:
    clock = Clock()
    server = Server(clock=clock)
    server.listen(0, "127.0.0.1")
    client = await RawClient.connect(server)
    assert await client.ask(b"put 0 3600 1 0\r\n\r\n") == b"INSERTED 1\r\n"
    client.send(b"reserve\r\n")
    await asyncio.sleep(0)
    clock.now += 3600
    server.tick()
    assert await client.reader.readline() == b"RESERVED 1 0\r\n"
    await client.close()
    server.stop()


async def test_no_timer_is_left_when_nothing_can_happen(server: Server) -> None:
    client = await RawClient.connect(server)
    await client.ask(b"put 0 100 1 0\r\n\r\n")
    assert server._timer is not None
    await client.ask(b"delete 1\r\n")
    assert server._timer is None
    await client.close()


async def test_a_client_that_never_reads_costs_little_and_stops_nobody(server: Server) -> None:
    other = await RawClient.connect(server)
    await other.ask(b"put 0 0 100 60000\r\n" + b"x" * 60000 + b"\r\n")
    with socket.create_connection(server.address) as sock:
        sock.setblocking(False)
        data = b"peek 1\r\n" * 100_000
        sent = 0
        for _ in range(200):
            try:
                sent += sock.send(data[sent:])
            except BlockingIOError:
                await asyncio.sleep(0.001)
        assert await other.ask(b"use a\r\n") == b"USING a\r\n"
        (hungry,) = (s for s in server.engine.sessions.values() if s.reader.buffered or s.stalled)
        assert hungry.reader.buffered <= MAX_INPUT + 65536
        assert len(server._client_sockets[hungry]._unsent) <= MAX_UNSENT + 65536
        assert len(hungry.take_replies()) <= MAX_UNSENT + 65536
    await other.close()


async def test_commands_after_a_waiting_reserve_are_not_taken_without_end(server: Server) -> None:
    with socket.create_connection(server.address) as sock:
        sock.setblocking(False)
        sock.send(b"reserve\r\n")
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                sock.send(b"use a\r\n" * 10_000)
                await asyncio.sleep(0)
        (session,) = server.engine.sessions.values()
        assert session.reader.buffered <= MAX_INPUT + 65536


async def test_all_of_a_large_answer_arrives_with_others_served_meanwhile(
    server: Server,
) -> None:
    client = await RawClient.connect(server)
    await client.ask(b"put 0 0 100 60000\r\n" + b"x" * 60000 + b"\r\n")
    client.send(b"peek 1\r\n" * 500 + b"quit\r\n")
    other = await RawClient.connect(server)
    assert await other.ask(b"use a\r\n") == b"USING a\r\n"
    assert (await client.rest()).count(b"FOUND") == 500
    await client.close()
    await other.close()


async def test_garbage_disturbs_nobody_else(server: Server) -> None:
    for garbage in (os.urandom(100_000), b"x" * 500_000, b"put 0 0 0 67108864\r\n" + b"y" * 9999):
        client = await RawClient.connect(server)
        client.send(garbage)
        await client.writer.drain()
        other = await RawClient.connect(server)
        assert await other.ask(b"use a\r\n") == b"USING a\r\n"
        await client.close()
        await other.close()


async def test_replies_can_be_kept_back(server: Server) -> None:
    client = await RawClient.connect(server)
    server.pause_replies()
    # A connection that is accepted meanwhile is kept waiting as well.
    late = await RawClient.connect(server)
    for each in (client, late):
        each.send(PUT)
    while len(server.engine.jobs) < 2:
        await asyncio.sleep(0.001)
    assert all(session.has_replies for session in server.engine.sessions.values())
    server.resume_replies()
    lines = {await each.reader.readline() for each in (client, late)}
    assert lines == {b"INSERTED 1\r\n", b"INSERTED 2\r\n"}
    for each in (client, late):
        await each.close()


async def test_connections_can_be_dropped(server: Server) -> None:
    holder = await RawClient.connect(server)
    await holder.ask(PUT)
    await holder.ask(b"reserve\r\n")
    server.drop_connections()
    await holder.rest()
    other = await RawClient.connect(server)
    assert await other.ask(b"reserve\r\n") == b"RESERVED 1 0\r\n"
    await holder.close()
    await other.close()


async def test_stopping_leaves_nothing_behind(server: Server) -> None:
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
    another = Server()
    another.listen(0, "127.0.0.1")
    address = another.address
    client = await RawClient.connect(another)
    await client.ask(b"put 0 100 1 0\r\n\r\n")
    another.stop()
    another.stop()
    assert await client.rest() == b""
    await client.close()
    assert another._timer is None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = Server()
    server.listen_unix(path)
    assert server.url == f"unix://{path}"
    client = RawClient(*await asyncio.open_unix_connection(path))
    assert await client.ask(PUT) == b"INSERTED 1\r\n"
    await client.close()
    with pytest.raises(OSError, match="listens there already"):
        Server().listen_unix(path)
    server.stop()
    assert not path.exists()


NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 0x2F} & set(name))


@settings(deadline=None)
@given(NAMES.map(os.fsdecode).filter(lambda name: name not in (".", "..")))
@example("a b%20c?d#e\n\té;")
def test_the_url_of_a_unix_socket_leads_to_it(name: str) -> None:
    async def put() -> None:
        with tempfile.TemporaryDirectory() as folder:
            server = Server()
            server.listen_unix(f"{folder}/{name}")
            try:
                async with Client.from_url(server.url, connect_timeout=5) as client:
                    assert await client.put(b"x") == 1
            finally:
                server.stop()

    asyncio.run(put())


async def test_the_url_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = Server()
    server.listen_unix("socket")
    assert server.url == f"unix://{tmp_path}/socket"
    server.stop()


async def test_a_unix_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = Server()
    server.listen_unix(path)
    server.stop()


async def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("dear")
    with pytest.raises(OSError, match="in use"):
        Server().listen_unix(path)
    assert path.read_text() == "dear"


async def test_out_of_descriptors_it_recovers(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.accept_retry_delay = 0.05
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as sock:
        sock.setblocking(False)
        # The next descriptor there would be is one too many.
        with socket.socket() as probe:
            limit = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            await asyncio.get_running_loop().sock_connect(sock, server.address)
            while not caplog.records:
                await asyncio.sleep(0.001)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.get_running_loop().sock_sendall(sock, PUT)
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"INSERTED 1\r\n"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_many_connections_do_no_harm(server: Server) -> None:
    clients = [await RawClient.connect(server) for _ in range(300)]
    for client in clients:
        client.send(b"reserve\r\n")
    other = await RawClient.connect(server)
    other.send(PUT * 300)
    assert {await client.reader.readline() for client in clients} == {
        b"RESERVED %d 0\r\n" % number for number in range(1, 301)
    }
    for client in [*clients, other]:
        await client.close()


@pytest.mark.parametrize("size", [-1, 2**30 + 1])
def test_a_limit_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="max_job_size"):
        Server(max_job_size=size)
