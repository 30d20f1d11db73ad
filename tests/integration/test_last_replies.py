"""Replies that have come are read, also when writing fails first."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from pathlib import Path

import pytest

from beanstalkt import Client, ConnectionLost

TIMEOUT = 10


def play(listening: socket.socket, reset: bool, gone: threading.Event) -> None:
    """Answers two puts and goes, before anybody reads the answers."""
    sock, _ = listening.accept()
    listening.close()
    with sock:
        data = b""
        while data.count(b"\r\n") < 4:
            data += sock.recv(1000)
        sock.sendall(b"INSERTED 1\r\nINSERTED 2\r\n")
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_puts_that_were_answered_have_succeeded(
    kind: str, reset: bool, tmp_path: Path
) -> None:
    if kind == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "socket"))
        url = f"unix://{tmp_path}/socket"
    else:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        url = f"beanstalk://127.0.0.1:{listening.getsockname()[1]}"
    listening.settimeout(TIMEOUT)
    listening.listen()
    gone = threading.Event()
    peer = threading.Thread(target=play, args=(listening, reset, gone))
    peer.start()
    client = Client.from_url(url, connect_timeout=TIMEOUT)
    await client.connect()
    # Together, so that the second one is not answered before it was seen by the peer.
    answered = [client.put(b"a"), client.put(b"b")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(put.done() for put in answered)
    gone.wait(TIMEOUT)  # without the loop: the answers wait in the socket
    # The first bytes towards a peer that is gone are taken, or fail; the next ones fail.
    lost = [client.put(b"c")]
    await asyncio.sleep(0)
    lost.append(client.put(b"d"))
    assert await asyncio.gather(*answered) == [1, 2]
    for put in lost:
        with pytest.raises(ConnectionLost):
            await put
    await client.close()
    peer.join(TIMEOUT)
