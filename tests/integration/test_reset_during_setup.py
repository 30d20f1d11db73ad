"""A peer that goes between the connecting and the setting up."""

from __future__ import annotations

import asyncio
import select
from typing import Any

import pytest

from beanstalkt import Client
from beanstalkt.client import reconnecting
from beanstalkt.client.transport import TLSTransport, Transport, open_transport
from beanstalkt.protocol.address import Address

from ..support.peer import Line, Peer

RESETS = 3


async def script(line: Line) -> None:
    for command in (b"use tube", b"list-tube-used"):
        await line.expect(command)
        line.send(b"USING tube\r\n")


async def test_the_next_attempt_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting up fails on a connection that ended before its first command was written."""
    opened = 0

    async def open_one_that_ends(
        address: Address, ssl_options: None, timeout: float, *more: Any
    ) -> Transport | TLSTransport:
        nonlocal opened
        opened += 1
        stream = await open_transport(address, ssl_options, timeout, *more)
        if 1 < opened <= 1 + RESETS:
            while len(peer.lines) < opened:
                await asyncio.sleep(0)
            peer.lines[-1].reset()
            while not select.select([stream.socket], [], [], 0)[0]:
                await asyncio.sleep(0)
        return stream

    monkeypatch.setattr(reconnecting, "open_transport", open_one_that_ends)
    async with Peer(script) as peer:
        client = Client(peer.host, peer.port, reconnect_delay=0.01)
        await client.connect()
        assert await client.use("tube") == "tube"
        back = asyncio.get_running_loop().create_future()
        client.set_reconnect_callback(lambda: back.set_result(None))
        peer.lines[0].reset()
        await asyncio.wait_for(back, 5)
        assert opened == 2 + RESETS
        assert await client.list_tube_used() == "tube"
        await client.close()
