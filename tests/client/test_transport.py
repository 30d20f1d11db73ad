"""The stream by itself, on a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from beanstalkt.client import transport as module
from beanstalkt.client.sockets import KEEPALIVE
from beanstalkt.client.transport import Transport, open_transport
from beanstalkt.protocol.address import Address

from ..support.leftovers import nothing_left
from ..support.ports import HOST, free_port
from ..support.waiting import until


class End:
    """A stream, what it has reported, and the plain socket at its other end."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.stream = Transport(ours)
        self.socket = theirs
        self.received = bytearray()
        self.ends = 0
        self.stream.start(self._receive, self._closed)

    def _receive(self, chunk: bytes) -> None:
        assert chunk
        assert not self.ends
        self.received += chunk

    def _closed(self) -> None:
        self.ends += 1


@pytest.fixture
def end(io_loop: IOLoop) -> Iterator[End]:
    ours, theirs = socket.socketpair()
    end = End(ours, theirs)
    yield end
    end.stream.close()
    theirs.close()


async def test_it_reports_all_that_comes_and_then_the_end(end: End) -> None:
    end.socket.sendall(b"one\r\n")
    await until(lambda: end.received)
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=end.socket.sendall, args=[data])
    sender.start()
    await until(lambda: len(end.received) == 5 + len(data))
    sender.join()
    assert end.received == b"one\r\n" + data
    assert not end.ends
    end.socket.sendall(b"last")
    end.socket.shutdown(socket.SHUT_WR)
    await until(lambda: end.ends)
    assert end.received.endswith(b"last")
    assert end.stream.reason() == "the server closed the connection"


async def test_it_counts_what_the_socket_took(end: End) -> None:
    end.stream.send(b"12345")
    assert end.stream.handed == 5
    assert end.socket.recv(10) == b"12345"
    end.stream.send(bytes(10_000_000))
    taken = end.stream.handed
    assert 5 < taken < 10_000_005
    # What comes behind waits its turn, in order.
    end.stream.send(b"behind")
    assert end.stream.handed == taken
    end.socket.setblocking(False)
    received = bytearray()

    def all_received() -> bool:
        while True:
            try:
                received.extend(end.socket.recv(2**20))
            except BlockingIOError:
                return len(received) == 10_000_006

    await until(all_received)
    assert received == bytes(10_000_000) + b"behind"
    assert end.stream.handed == 10_000_011


async def test_the_end_is_told_once_and_not_in_the_same_call(end: End) -> None:
    for _ in range(2):
        end.stream.close()
        assert end.ends == 0
    end.stream.send(b"nobody is there")
    end.stream.wake_at(10)
    end.stream.read_now()
    await until(lambda: end.ends)
    await asyncio.sleep(0)
    assert end.ends == 1
    assert end.stream.handed == 0


async def test_a_write_that_fails_ends_it_after_what_had_come(end: End) -> None:
    end.socket.sendall(b"said before")
    end.socket.close()
    end.stream.send(b"lost")
    await until(lambda: end.ends)
    assert end.received == b"said before"
    assert end.stream.closed()
    assert end.ends == 1
    assert end.stream.handed == 0


async def test_what_has_come_can_be_read_now(end: End) -> None:
    end.socket.sendall(b"here already")
    end.stream.read_now()
    assert end.received == b"here already"
    end.stream.read_now()  # nothing more: neither waits nor closes
    assert not end.stream.closed()


async def test_a_reset_is_told_as_such() -> None:
    with socket.create_server((HOST, 0)) as listener:
        address = Address(HOST, listener.getsockname()[1])
        stream = await open_transport(address, None, 5)
        closed = asyncio.Event()
        stream.start(lambda chunk: None, closed.set)
        other, _ = listener.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
        await asyncio.wait_for(closed.wait(), 5)
        assert stream.reason() == "Connection reset by peer"


# --- opening ---


async def test_refused_is_an_oserror_in_the_systems_words() -> None:
    async with nothing_left():
        with pytest.raises(OSError, match=r"^Connection refused$"):
            await open_transport(Address(HOST, free_port()), None, 5)


async def test_every_address_gets_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that swallows packets must leave time for the others."""
    tried: list[str] = []
    connect = module._connect

    async def resolve(address: Address) -> list[tuple[int, tuple[str, int]]]:
        return [(socket.AF_INET, (name, address.port)) for name in ("silent", "refuses", HOST)]

    async def try_one(stream: module.Transport, target: tuple[str, int], address: Address) -> None:
        tried.append(target[0])
        if target[0] == "silent":
            await asyncio.sleep(1000)
        if target[0] == "refuses":
            raise OSError("refused")
        await connect(stream, target, address)

    monkeypatch.setattr(module, "_resolve", resolve)
    monkeypatch.setattr(module, "_connect", try_one)
    async with nothing_left():
        with socket.create_server((HOST, 0)) as listener:
            stream = await open_transport(Address("name", listener.getsockname()[1]), None, 0.3)
            stream.close()
        assert tried == ["silent", "refuses", HOST]
        # The last failure is the one that is told.
        tried.clear()
        with pytest.raises(OSError, match=r"^Connection refused$"):
            await open_transport(Address("name", free_port()), None, 0.3)


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*arguments: object) -> None:
        await asyncio.sleep(1000)

    async with nothing_left():
        for step in ("_connect", "_resolve"):
            monkeypatch.setattr(module, step, never)
            with pytest.raises(OSError, match=r"no answer within 0\.0"):
                await open_transport(Address(HOST, free_port()), None, 0.05)


async def test_cancelled_it_leaves_no_socket() -> None:
    async with nothing_left():
        with socket.create_server((HOST, 0)) as listener:
            address = Address(HOST, listener.getsockname()[1])
            for turns in range(6):
                task = asyncio.ensure_future(open_transport(address, None, 5))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    stream = await task
                except asyncio.CancelledError:
                    continue
                stream.close()


async def test_cancelled_as_the_handshake_fails(io_loop: IOLoop) -> None:
    """The failure comes in the very turn of the loop in which the attempt is cancelled."""
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    async with nothing_left():
        with socket.create_server((HOST, 0)) as listener:
            listener.settimeout(5)
            address = Address(HOST, listener.getsockname()[1], tls=True)
            options = ssl.create_default_context()
            task = asyncio.ensure_future(open_transport(address, options, 5))
            peer, _ = await loop.run_in_executor(None, listener.accept)
            with peer:
                peer.settimeout(5)
                assert await loop.run_in_executor(None, peer.recv, 1)  # the handshake has begun
                peer.sendall(b"no handshake\r\n" * 10)  # it is there when the loop looks next
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
    assert not told


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
async def test_a_peer_that_speaks_or_hangs_up_at_once(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says is there before the stream has anybody to give it to."""
    peers: list[socket.socket] = []
    connect = Transport.connect

    def connect_and_be_answered(stream: Transport, *arguments: Any, **options: Any) -> object:
        future = connect(stream, *arguments, **options)
        peer, _ = listener.accept()
        peer.sendall(greeting)
        peers.append(peer)
        if not greeting:
            peer.close()
        return future

    monkeypatch.setattr(Transport, "connect", connect_and_be_answered)
    with socket.create_server((HOST, 0)) as listener:
        stream = await open_transport(Address(HOST, listener.getsockname()[1]), None, 5)
        await asyncio.sleep(0)  # the stream looks whether the server hangs up
        received = bytearray()
        ends: list[object] = []
        stream.start(received.extend, lambda: ends.append(None))
        await until(lambda: received == greeting if greeting else ends)
        assert stream.closed() == (not greeting)
        stream.close()
        peers[0].close()
    assert not caplog.messages


async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(address: Address) -> list[tuple[int, object]]:
        return []

    monkeypatch.setattr(module, "_resolve", nowhere)
    with pytest.raises(OSError, match="name has no address"):
        await open_transport(Address("name"), None, 5)


def test_keep_alive_notices_within_minutes() -> None:
    probing = KEEPALIVE["TCP_KEEPIDLE"] + KEEPALIVE["TCP_KEEPINTVL"] * KEEPALIVE["TCP_KEEPCNT"]
    assert probing <= 180  # seconds
    assert KEEPALIVE["TCP_USER_TIMEOUT"] <= 180_000  # milliseconds
