"""The relay as a process: its client, its signals, and what it says."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..client.client import Client
from ..errors import InvalidArgument
from ..pool.pool import Pool
from ..protocol.servers import Server
from ..sql import listening
from ..sql.database import Database
from ..sql.outbox import Outbox
from ..sql.relay import Relay
from .exit_status import DONE, INTERRUPTED, NO_SERVER
from .server_options import CONNECT_TIMEOUT
from .stdio import say

RESPONSE_TIMEOUT = 15.0
"""Seconds for a reply of the server: far less than a claim lasts."""

STOP_TIMEOUT = 5.0
"""Seconds for a reply of the server after the relay was told to stop."""

TELL_AFTER = 0.3
"""Seconds after which a relay that was told to stop says what it waits for."""


def client_of(servers: Sequence[Server]) -> Client | Pool:
    """Return the client of a server, or the pool of several."""
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "response_timeout": RESPONSE_TIMEOUT,
        "max_reconnect_delay": 10.0,
    }
    if len(servers) > 1:
        return Pool(servers, **options)
    return Client.from_url(servers[0].url, **options)


class Stopping:
    """Stop a relay when the process gets a signal: with the first one in order, then at once.

    :ivar status: the exit status of a relay that has ended without an error
    """

    def __init__(self, relay: Relay, client: Client | Pool) -> None:
        self.status = DONE
        self._relay = relay
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._told = False
        self._timers: list[asyncio.TimerHandle] = []

    def signalled(self) -> None:
        """Stop the relay, or do not wait for the server any longer if it is stopping already."""
        if self._told:
            self._cut(INTERRUPTED)
            return
        self._told = True
        self._relay.stop()
        self._timers = [
            self._loop.call_later(TELL_AFTER, self._tell),
            self._loop.call_later(STOP_TIMEOUT, self._cut, NO_SERVER),
        ]

    def close(self) -> None:
        """Leave no timer in the loop."""
        for timer in self._timers:
            timer.cancel()

    def _tell(self) -> None:
        waits_for = self._relay.waits_for
        if waits_for:
            say(
                f"stopping: it waits for {waits_for}, up to {STOP_TIMEOUT:g} s; "
                "interrupt it once more to end it now: no row is lost"
            )

    def _cut(self, status: int) -> None:
        """End the connections, so that puts without an answer fail and their rows are marked."""
        self.close()
        self.status = status
        self._relay.hurry()
        clients: Mapping[str, Client] | None = getattr(self._client, "clients", None)
        for client in [self._client] if clients is None else clients.values():
            client.close().cancel()  # which does not wait for answers


async def run(options: argparse.Namespace, outbox: Outbox) -> int:
    """Run the relay of the command line until it is told to stop; return the exit status."""
    names = ", ".join(server.name for server in options.servers)
    async with client_of(options.servers) as client:
        relay = Relay(
            outbox,
            client,
            options.servers[0].name,
            tube=options.default_tube,
            plain=options.plain,
            batch=options.batch,
            on_doubt=options.on_doubt,
            burst=options.burst,
        )
        client.set_reconnect_callback(relay.wake)
        loop = asyncio.get_running_loop()
        stopping = Stopping(relay, client)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.signalled)
        say(f"relaying from {outbox.database.shown} to {names}, as {options.name}")
        listener = None
        if options.listen:
            listener = loop.create_task(listening.listen(options.database, relay.wake))
        try:
            await relay.run()
        except TimeoutError as error:
            say(str(error))
            return stopping.status or NO_SERVER
        finally:
            stopping.close()
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener])
            counts = ", ".join(f"{count} {state}" for state, count in relay.counts.items())
            say(f"rows: {counts or 'none'}")
    return stopping.status


@contextmanager
def only_one(name: str, database: Database) -> Iterator[None]:
    """Refuse to run when a relay of the same name runs on this machine, for the same database.

    Each would take back the rows that the other one is putting. Raises InvalidArgument.
    """
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX) as lock:
        # An abstract name: it is given up by the kernel, however this process ends.
        try:
            lock.bind(f"\0beanstalkt-relay-{_hash_of(name, database.shown)}")
        except OSError:
            raise InvalidArgument(
                f"a relay called {name} already runs here for this database: give --name"
            ) from None
        yield


def _hash_of(*parts: str) -> str:
    """Return a short name that stands for texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def log_to_stderr() -> None:
    """Have warnings and reports of the relay printed on standard error."""
    logging.basicConfig(format="beanstalkt: %(message)s", level=logging.INFO)
