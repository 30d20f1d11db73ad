"""put_many on an event loop: any number of puts with a bounded number under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import BeanstalkException
from .puts import Puts
from .requests import PutChunk


class PutMany:
    """One call of put_many on an event loop.

    :param send: sends a chunk; raises ConnectionLost
    """

    def __init__(
        self,
        bodies: Iterable[object],
        numbers: tuple[int, int, int],
        future: asyncio.Future[Any],
        send: Callable[[PutChunk], None],
    ) -> None:
        #: what the caller waits for
        self.future = future
        self._puts = Puts(bodies, numbers)
        self._send = send
        self._under_way = 0  # chunks

    def start(self) -> None:
        """Send the first two chunks."""
        self._fill()
        self._fill()

    def _chunk_ended(self, error: BeanstalkException | None) -> None:
        self._under_way -= 1
        if error is not None:
            self._puts.fail(error)
        # Not here and now: the bodies come from the user's code, and this is the reader's call.
        self.future.get_loop().call_soon(self._fill)

    def _fill(self) -> None:
        if self.future.done():
            return
        puts = self._puts
        if not puts.exhausted and (chunk := puts.next_chunk(self._chunk_ended)) is not None:
            self._under_way += 1
            try:
                self._send(chunk)
            except BaseException as error:
                self._under_way -= 1
                puts.fail(error, unsent=chunk.missing)
        if not self._under_way and puts.exhausted:
            self._finish()

    def _finish(self) -> None:
        error = self._puts.failure()
        if error is None:
            self.future.set_result(self._puts.ids)
        else:
            self.future.set_exception(error)
