"""Many commands of one kind in one place: for those who look at, or change, many jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..errors import ConnectionLost, UnexpectedResponse
from ..protocol.commands import PUT, STATS, USE, Command
from .client import Client
from .requests import MISSING, CommandChunk

__all__ = ["MISSING", "Bulk", "raise_lost", "sibling"]


class Bulk:
    """The present connection of a client, for many commands at once.

    It stays with that connection: a server that was restarted gives ids again, so what was seen
    on one connection must not be changed on another one.

    Raises ConnectionLost if there is no connection.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        connection = client._reconnector.connection
        if connection is None:
            raise client._not_connected(STATS)
        self._connection = connection

    @property
    def ended(self) -> bool:
        """Return whether the connection has ended, so that nothing more can be sent."""
        return self._connection.ended

    @property
    def jobs(self) -> set[int]:
        """The ids of the jobs that the server holds for this connection."""
        return self._connection.jobs

    def send(self, command: Command, payloads: Sequence[bytes]) -> asyncio.Future[list[Any]]:
        """Send commands of one kind in one go; return a Future of a list of what became of each.

        That is, in the order of the commands: its result; `MISSING` where the server replied
        NOT_FOUND; the error of another refusal; ConnectionLost, with ``.sent``, where no reply
        came. The Future itself never fails, and cancelling it takes nothing back.

        Raises ConnectionLost, and sends nothing, if the connection has ended.

        :param payloads: the encoded commands, at least one; a few hundred are a good number
        """
        future = self._future(command)
        self._connection.send(CommandChunk(command, payloads, future))
        return future

    def put(self, payloads: Sequence[bytes], tube: str) -> asyncio.Future[list[Any]]:
        """Put jobs into a tube, as `send` sends commands; the tube in use is unchanged then.

        :param payloads: the encoded puts, each with its body
        """
        USE.encode(tube)  # refused before anything is sent
        future = self._future(PUT)
        chunk = CommandChunk(PUT, payloads, future)
        self._connection.send_chunk(chunk, tube, self._client._tubes.asked)
        return future

    def _future(self, command: Command) -> asyncio.Future[list[Any]]:
        if self._connection.ended:
            raise ConnectionLost(
                f"{command.verb}: the connection was lost: {self._connection.reason}",
                command=command.verb,
            )
        return self._client._future()


def raise_lost(results: Sequence[object]) -> None:
    """Raise the error because of which some of these results did not come, if there is one."""
    # When the connection ends, every command that comes after has no result either.
    if isinstance(results[-1], (ConnectionLost, UnexpectedResponse)):
        for each in results:
            if isinstance(each, (ConnectionLost, UnexpectedResponse)):
                raise each


def sibling(client: Client, connect_timeout: float) -> Client:
    """Return a client of the same server, with the same options, that is not connected yet.

    It uses and watches the tube default, whatever the other one does.

    :param connect_timeout: seconds, where the other one's is not shorter
    """
    if client._connect_timeout is not None:
        connect_timeout = min(connect_timeout, client._connect_timeout)
    reconnector = client._reconnector
    timing, address = reconnector._timing, client.address
    return Client(
        address.host,
        address.port,
        connect_timeout,
        unix_path=address.path,
        ssl_options=reconnector._ssl_options,
        reconnect_delay=timing.reconnect_delay,
        max_reconnect_delay=timing.max_reconnect_delay,
        response_timeout=timing.response_timeout,
        timing=timing,
    )
