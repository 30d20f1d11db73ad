"""put_many of a pool on an event loop: a bounded number of puts under way on each server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .chunks import SplitPuts
from .member import Member


class PoolPutMany:
    """One call of put_many over several servers.

    :param split: makes the puts, of what is called each time a chunk of them is settled
    :param tube: that the jobs go to
    """

    def __init__(
        self,
        split: Callable[[Callable[[], object]], SplitPuts[Member]],
        future: asyncio.Future[Any],
        tube: str,
    ) -> None:
        #: what the caller waits for
        self.future = future
        self._puts = split(self._fill_soon)
        self._tube = tube
        self._filling = False  # is about to

    def start(self) -> None:
        """Send the first chunks."""
        self._fill()

    def _fill_soon(self) -> None:
        # Not here and now: the bodies come from the user's code, and this is the reader's call.
        if not self._filling:
            self._filling = True
            self.future.get_loop().call_soon(self._fill)

    def _fill(self) -> None:
        self._filling = False
        if self.future.done():
            return
        while (chunk := self._puts.next()) is not None:
            client = chunk.member.client
            if client.connection is None:
                chunk.lost(client.reason, sent=False)
            else:
                client.connection.send_chunk(chunk, self._tube, client.tubes.asked)
        if self._puts.finished:
            ids, error = self._puts.outcome()
            if error is None:
                self.future.set_result(ids)
            else:
                self.future.set_exception(error)
