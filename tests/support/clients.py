"""Clients of a test's servers, and what must hold at the server for all its clients."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from beanstalkt import Client

from .embedded import AnyServer
from .waiting import soon, until, until_awaited

RECONNECT_DELAY = 0.02
"""Seconds between a loss and the next attempt; short, because tests wait for it."""


class HasAddress(Protocol):
    """A server, a scripted peer or a proxy."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


def client_of(server: HasAddress, kind: Callable[..., Client] = Client, **options: Any) -> Client:
    """Return a client of `server` that reconnects quickly, unless `options` say otherwise."""
    options = {"connect_timeout": 10, "reconnect_delay": RECONNECT_DELAY, **options}
    return kind(server.host, server.port, **options)


async def until_waiting(client: Client, count: int) -> None:
    """Wait until `count` connections wait for a job at the server."""

    async def waiting() -> bool:
        return (await client.stats())["current-waiting"] == count

    await until_awaited(waiting, f"{count} connections that wait for a job")


async def nothing_reserved(client: Client) -> None:
    """Assert that soon no connection of the server holds a job."""

    async def none() -> bool:
        return (await client.stats())["current-jobs-reserved"] == 0

    await soon(until_awaited(none, "no job is reserved"))


async def priority_is_kept(server: HasAddress, job_id: int, priority: int) -> None:
    """Assert that the next ready job is this one, and has this priority."""
    async with client_of(server) as fresh:
        await nothing_reserved(fresh)
        job = await soon(fresh.reserve(0))
        assert job.id == job_id
        assert (await job.stats())["pri"] == priority


async def drained(server: AnyServer) -> None:
    """Have a server take no more jobs; return when it does not.

    It may get some into the tube default until then.
    """

    def drains() -> bool:
        try:
            return server.ask(b"put 0 0 1 0\r\n\r\n") == b"DRAINING\r\n"
        except ConnectionResetError:  # beanstalkd may drop a connection when a signal comes
            return False

    server.signal(signal.SIGUSR1)
    await until(drains, "the server drains")


def every_verb(client: Client) -> list[Callable[[], Awaitable[Any]]]:
    """Return a call of each verb of the client, some with several kinds of arguments."""
    return [
        lambda: client.put(b"x"),
        lambda: client.put(b"x", tube="t"),
        lambda: client.put_many([b"x"] * 10),
        lambda: client.use("a"),
        lambda: client.reserve(),
        lambda: client.reserve(0),
        lambda: client.reserve(10),
        lambda: client.reserve_job(1),
        lambda: client.delete(1),
        lambda: client.release(1),
        lambda: client.release(1, None),
        lambda: client.bury(1),
        lambda: client.bury(1, None),
        lambda: client.touch(1),
        lambda: client.watch("a"),
        lambda: client.ignore("b"),
        lambda: client.peek(1),
        lambda: client.peek_ready(),
        lambda: client.peek_delayed(tube="t"),
        lambda: client.peek_buried(),
        lambda: client.kick(),
        lambda: client.kick_job(1),
        lambda: client.stats_job(1),
        lambda: client.stats_tube("default"),
        lambda: client.stats(),
        lambda: client.list_tubes(),
        lambda: client.list_tube_used(),
        lambda: client.list_tubes_watched(),
        lambda: client.pause_tube("default", 0),
    ]
