"""HTTP handlers as a configuration makes them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trustme

from beanstalkt.worker.config.loading import Flags, load
from beanstalkt.worker.config.settings import TubeSettings
from beanstalkt.worker.handlers.base import Handler
from beanstalkt.worker.policy.outcome import Outcome

from .work import make_work


def tube(**options: str) -> TubeSettings:
    """The settings of a tube with these options."""
    return load(Flags(options, ["mail"]), {}).tubes[0]


@asynccontextmanager
async def handling(**options: str) -> AsyncIterator[Handler]:
    handler = tube(**options).make_handler()
    handler.check()
    try:
        yield handler
    finally:
        await handler.close()


async def post(url: str, body: bytes = b"", **options: str) -> Outcome:
    async with handling(http=url, **options) as handler:
        return await handler.run(make_work(body))


def tls(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context
