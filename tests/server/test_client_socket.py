"""One client's socket: what is read and written, and when neither."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from beanstalkt.server.client_socket import MAX_INPUT, READ_SIZE, ClientSocket
from beanstalkt.server.engine import Engine
from beanstalkt.server.interpreter import MAX_UNSENT, Interpreter
from beanstalkt.server.session import Session

PUT = b"put 0 0 100 0\r\n\r\n"


class Setup:
    """A client socket whose other end the test has."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.session = self.engine.connect()
        self.activities = 0
        self.closed: list[Session] = []
        self.near, self.far = socket.socketpair()
        for sock in (self.near, self.far):
            sock.setblocking(False)
        self.client_socket = ClientSocket(
            Interpreter(self.engine), self.session, self.near, self._on_activity, self._on_close
        )

    def _on_activity(self) -> None:
        self.activities += 1

    def _on_close(self, session: Session) -> None:
        self.closed.append(session)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.far, data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.far, 1 << 20)

    async def until_closed(self) -> None:
        while not self.closed:
            await asyncio.sleep(0)


@pytest.fixture
def setup(io_loop: IOLoop) -> Iterator[Setup]:
    async def start() -> Setup:
        return Setup()

    setup = io_loop.run_sync(start)
    yield setup
    setup.client_socket.close()
    setup.far.close()
    assert setup.closed == [setup.session]
    assert not setup.engine.sessions


async def test_commands_are_executed_and_their_replies_sent(setup: Setup) -> None:
    await setup.send(PUT)
    assert await setup.receive() == b"INSERTED 1\r\n"
    assert setup.activities == 1


async def test_a_reply_to_a_waiting_reserve_is_sent_when_it_is_told_to(setup: Setup) -> None:
    await setup.send(b"reserve\r\n")
    while not setup.session.waiting:
        await asyncio.sleep(0)
    engine = setup.engine
    engine.put(engine.create_job(engine.default_tube, 0, 0, 100, 0))
    setup.client_socket.send_replies()
    assert await setup.receive() == b"RESERVED 1 0\r\n\r\n"


async def test_quit_closes_it(setup: Setup) -> None:
    await setup.send(PUT + b"quit\r\n")
    assert await setup.receive() == b"INSERTED 1\r\n"
    assert await setup.receive() == b""
    assert setup.closed == [setup.session]


async def test_closing_twice_tells_once(setup: Setup) -> None:
    setup.client_socket.close()
    setup.client_socket.close()
    assert setup.closed == [setup.session]


async def test_the_end_of_the_other_side_closes_it(setup: Setup) -> None:
    setup.far.close()
    await setup.until_closed()


async def test_a_reset_closes_it(setup: Setup) -> None:
    await setup.send(b"reserve\r\n")
    while not setup.session.waiting:
        await asyncio.sleep(0)
    # Closing a unix socket with unread data resets the connection.
    setup.near.send(b"unread")
    setup.far.close()
    await setup.until_closed()


async def test_replies_to_one_who_has_gone_close_it(setup: Setup) -> None:
    setup.far.close()
    setup.session.reply(b"TIMED_OUT\r\n")
    setup.client_socket.send_replies()
    assert setup.closed == [setup.session]


async def test_paused_replies_are_kept_and_sent_in_the_end(setup: Setup) -> None:
    setup.client_socket.pause_replies()
    await setup.send(PUT)
    while not setup.engine.jobs:
        await asyncio.sleep(0)
    activities = setup.activities
    for _ in range(20):
        await asyncio.sleep(0)
    assert setup.activities == activities, "a reply that is kept back keeps the loop busy"
    with pytest.raises(BlockingIOError):
        setup.far.recv(100)
    setup.client_socket.resume_replies()
    assert await setup.receive() == b"INSERTED 1\r\n"


async def fill(sock: socket.socket, data: bytes) -> None:
    """Send `data` again and again until the other side has stopped reading."""
    refused = 0
    while refused < 50:
        try:
            sock.send(data)
            refused = 0
        except BlockingIOError:
            refused += 1
            await asyncio.sleep(0)


async def test_reading_stops_while_a_reserve_waits_and_goes_on_after_it(setup: Setup) -> None:
    await setup.send(b"reserve\r\n")
    await fill(setup.far, b"use a\r\n" * 1000)
    assert MAX_INPUT < setup.session.reader.buffered <= MAX_INPUT + READ_SIZE
    engine = setup.engine
    engine.put(engine.create_job(engine.default_tube, 0, 0, 100, 0))
    setup.client_socket.send_replies()
    assert await setup.receive() == b"RESERVED 1 0\r\n\r\n"


async def test_no_command_is_read_while_a_reply_is_sent_in_part(setup: Setup) -> None:
    setup.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await setup.send(b"put 0 0 100 60000\r\n" + bytes(60000) + b"\r\npeek 1\r\n")
    while not setup.engine.command_counts["peek"]:
        await asyncio.sleep(0)
    await setup.send(b"use a\r\n")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not setup.engine.command_counts["use"]
    received = b""
    while not received.endswith(b"USING a\r\n"):
        received += await setup.receive()
    assert len(received) == len(b"INSERTED 1\r\nFOUND 1 60000\r\n\r\nUSING a\r\n") + 60000


async def test_reading_stops_while_replies_are_not_taken(setup: Setup) -> None:
    await setup.send(b"put 0 0 100 60000\r\n" + bytes(60000) + b"\r\n")
    assert await setup.receive() == b"INSERTED 1\r\n"
    await fill(setup.far, b"peek 1\r\n" * 1000)
    assert setup.session.replies_size <= MAX_UNSENT + 65536
    assert setup.session.reader.buffered <= MAX_INPUT + READ_SIZE


async def test_all_replies_arrive_though_they_are_taken_slowly(setup: Setup) -> None:
    await setup.send(b"put 0 0 100 60000\r\n" + bytes(60000) + b"\r\n" + b"peek 1\r\n" * 100)
    await setup.send(b"quit\r\n")
    received = b""
    while data := await setup.receive():
        received += data
    assert received.count(b"FOUND 1 60000\r\n") == 100
