"""Keeping jobs that are reserved for a moment from running out of their time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..client.bulk import Bulk
from ..errors import ConnectionLost
from ..protocol.commands import TOUCH
from .claim import Claim

SHORTEST = 0.1
"""Seconds between two touches at the least."""


@contextmanager
def kept(bulk: Bulk, claims: Sequence[Claim]) -> Iterator[None]:
    """Touch jobs at a third of the shortest ttr for as long as the body of the ``with`` takes."""
    if not claims:
        yield
        return
    loop = asyncio.get_running_loop()
    interval = max(SHORTEST, min(each.after.ttr for each in claims) / 3)
    timer: asyncio.TimerHandle | None = None
    touches = [b"touch %d\r\n" % each.after.id for each in claims]

    def touch() -> None:
        nonlocal timer
        # One that has run out all the same is found out when it is deleted.
        with suppress(ConnectionLost):
            bulk.send(TOUCH, touches)
            timer = loop.call_later(interval, touch)

    timer = loop.call_later(interval, touch)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
