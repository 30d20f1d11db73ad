"""put_many: any number of puts with a bounded number under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from ..errors import BeanstalkException, InvalidArgument
from ..protocol.arguments import check_body
from ..protocol.commands import PUT, put_form
from .requests import UNWRITTEN, Place

CHUNK = 512
"""Bodies that are encoded in one go; two such chunks are under way at the most."""

CHUNK_BYTES = 2**18
"""A chunk is complete with the body that reaches this."""


class Chunk(Place):
    """Some puts that stand in the FIFO together; the ids go to a list."""

    __slots__ = ("_many", "count", "missing")

    def __init__(self, lines: list[bytes], many: PutMany) -> None:
        self.command = PUT
        self.line = b"".join(lines)
        self.position = UNWRITTEN
        self.count = self.missing = len(lines)
        self._many = many

    def done(self, result: int) -> None:
        self._many.ids.append(result)
        self.missing -= 1
        if not self.missing:
            self._many.chunk_done()

    def failed(self, error: BeanstalkException) -> None:
        self._many.ids.append(None)
        if self._many.error is None:
            self._many.error = error
        self.missing -= 1
        if not self.missing:
            self._many.chunk_done()

    def lost(self, reason: str, sent: bool, cause: BaseException | None = None) -> None:
        # Written, it stands in the FIFO once for each reply; held, it stands there once.
        while self.missing:
            super().lost(reason, sent, cause)


class PutMany:
    """One call of put_many.

    :param send: sends a chunk; raises ConnectionLost
    """

    def __init__(
        self,
        bodies: Iterable[object],
        numbers: tuple[int, int, int],
        future: asyncio.Future[Any],
        send: Callable[[Chunk], None],
    ) -> None:
        if isinstance(bodies, (str, bytes, bytearray, memoryview)):
            raise InvalidArgument("put_many takes an iterable of bodies, not one body")
        try:
            self._bodies = iter(bodies)
        except TypeError:
            raise InvalidArgument(
                f"put_many takes an iterable of bodies, not {type(bodies).__name__}"
            ) from None
        # Bad numbers are refused here, before the first body is taken.
        self._form = put_form(*numbers)
        self._send = send
        self._under_way = 0  # chunks
        self._exhausted = False
        self._unsent = 0  # good bodies that were taken last, when there was no connection
        self.future = future
        self.ids: list[int | None] = []
        self.error: BaseException | None = None

    def start(self) -> None:
        """Sends the first two chunks."""
        self._fill()
        self._fill()

    def chunk_done(self) -> None:
        """All replies to a chunk have come."""
        self._under_way -= 1
        # Not here and now: the bodies come from the user's code, and this is the reader's call.
        self.future.get_loop().call_soon(self._fill)

    def _fill(self) -> None:
        if self.future.done():
            return
        if not self._exhausted and self.error is None:
            self._send_chunk()
        if not self._under_way and (self._exhausted or self.error is not None):
            self._finish()

    def _send_chunk(self) -> None:
        lines: list[bytes] = []
        size = 0
        try:
            form = self._form
            for given in islice(self._bodies, CHUNK):
                body = check_body(given)
                line = form % (len(body), body)
                lines.append(line)
                size += len(line)
                if size >= CHUNK_BYTES:
                    break
            else:
                self._exhausted = len(lines) < CHUNK
        except BaseException as error:
            # Of a body, or of the generator that makes them. CancelledError too: the caller has
            # not cancelled anything, and bodies are missing.
            self.error = error
        if lines:
            self._under_way += 1
            try:
                self._send(Chunk(lines, self))
            except BaseException as error:
                self._under_way -= 1
                self._unsent = len(lines)
                self.error = error

    def _finish(self) -> None:
        error = self.error
        if error is None:
            self.future.set_result(self.ids)
            return
        self.ids += [None] * self._unsent
        if isinstance(error, BeanstalkException):
            put = sum(job_id is not None for job_id in self.ids)
            error.args = (f"{error} (put_many: {put} went in; see .ids)",)
        elif isinstance(error, StopIteration):
            error = _not_the_end(error)  # no Future takes this one
        with suppress(AttributeError):  # a property of a class of the caller's own
            object.__setattr__(error, "ids", self.ids)  # also where a class allows no new ones
        self.future.set_exception(error)


def _not_the_end(stop: StopIteration) -> RuntimeError:
    error = RuntimeError("put_many: a body raised StopIteration")
    error.__cause__ = stop
    return error
