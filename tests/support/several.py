"""Several servers for a test, and pools of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from beanstalkt import Pool

from .beanstalkd import Beanstalkd
from .clients import RECONNECT_DELAY

Servers = dict[str, Beanstalkd]
"""Servers by name: ``a``, ``b``, and so on."""


@contextmanager
def several(count: int = 3, *options: str) -> Iterator[Servers]:
    """Run so many servers, all with these options, and stop them at the end."""
    servers = {name: Beanstalkd(*options) for name in "abcdefgh"[:count]}
    try:
        for server in servers.values():
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def urls_of(servers: Servers) -> dict[str, str]:
    """Return the URLs of servers by name."""
    return {name: server.url for name, server in servers.items()}


def pool_of(servers: Servers, **options: Any) -> Pool:
    """Return a pool of servers that reconnects quickly, unless `options` say otherwise."""
    options = {"connect_timeout": 10, "reconnect_delay": RECONNECT_DELAY, **options}
    return Pool(urls_of(servers), **options)


def counts(ids: list[str]) -> dict[str, int]:
    """Return how many of these ids each server has."""
    found: dict[str, int] = {}
    for job_id in ids:
        name = job_id.partition("/")[0]
        found[name] = found.get(name, 0) + 1
    return found
