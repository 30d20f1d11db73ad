"""One connection against a scripted peer: what no real server does."""

from __future__ import annotations

import asyncio
import socket
import time

from beanstalkt import Client


async def test_the_last_reply_to_put_many_is_read_when_it_comes() -> None:
    """Replies to put_many are read in bulk, and the last one is not to wait for more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(*listener.getsockname())
        await client.connect()
        peer, _ = listener.accept()
        loop = asyncio.get_running_loop()
        try:
            many = client.put_many([b"x"] * 100)
            # These come when the loop has looked at its sockets, but not at its timers.
            replies = [b"INSERTED %d\r\n" % number for number in range(1, 101)]
            loop.call_later(0.0005, peer.sendall, b"".join(replies[:99]))
            time.sleep(0.01)  # both timers are to be due in one turn
            loop.call_later(0.05, peer.sendall, replies[99])
            assert await asyncio.wait_for(many, 5) == list(range(1, 101))
        finally:
            peer.close()
            await client.close()
