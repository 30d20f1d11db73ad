"""How a blocking client gets its socket."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from beanstalkt.blocking import connection as module
from beanstalkt.blocking.connection import open_connection
from beanstalkt.client.timing import Timing
from beanstalkt.protocol.address import Address

from ..support.ports import HOST, free_port


def test_every_address_gets_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that swallows packets must leave time for the others."""
    tried: dict[str, float] = {}  # and for how long
    connect = module._connect

    def try_one(address: Address, family: int, target: Any, tls: None, timeout: float) -> Any:
        tried[target[0]] = timeout
        if target[0] == "silent":
            raise TimeoutError("timed out")
        if target[0] == "refuses":
            raise ConnectionRefusedError(111, "refused")
        return connect(address, family, target, tls, timeout)

    def resolve(address: Address) -> list[tuple[int, Any]]:
        return [(socket.AF_INET, (name, address.port)) for name in ("silent", "refuses", HOST)]

    monkeypatch.setattr(module, "_connect", try_one)
    monkeypatch.setattr(module, "_resolve", resolve)
    with socket.create_server((HOST, 0)) as listener:
        address = Address("name", listener.getsockname()[1])
        open_connection(address, None, Timing(), 30).end("done")
    assert list(tried) == ["silent", "refuses", HOST]
    assert tried["silent"] <= 10
    assert tried["refuses"] <= 15
    # The last failure is the one that is told.
    with pytest.raises(OSError, match=r"^Connection refused$"):
        open_connection(Address("name", free_port()), None, Timing(), 0.3)


def test_the_system_looks_whether_the_peer_is_there_and_sends_at_once() -> None:
    with socket.create_server((HOST, 0)) as listener:
        connection = open_connection(Address(*listener.getsockname()), None, Timing(), 5)
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ):
            assert connection._sock.getsockopt(level, option)
        connection.end("done")
