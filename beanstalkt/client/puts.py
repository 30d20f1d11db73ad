"""The puts of one put_many: from bodies to chunks of puts, and to ids or an error. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

from ..errors import BeanstalkException, InvalidArgument
from ..protocol.arguments import check_body
from ..protocol.commands import put_form
from .requests import PutChunk

CHUNK = 512
"""Bodies that are encoded in one go; two such chunks are under way at the most."""

CHUNK_BYTES = 2**18
"""A chunk is complete with the body that reaches this."""


class Puts:
    """The puts of one call of put_many: from bodies to chunks, and to ids or an error.

    It does no I/O. Raises InvalidArgument for bodies that are no iterable, and for bad numbers.

    :param numbers: priority, delay and ttr
    """

    def __init__(self, bodies: Iterable[object], numbers: tuple[int, int, int]) -> None:
        if isinstance(bodies, (str, bytes, bytearray, memoryview)):
            raise InvalidArgument("put_many takes an iterable of bodies, not one body")
        try:
            self._bodies = iter(bodies)
        except TypeError:
            raise InvalidArgument(
                f"put_many takes an iterable of bodies, not {type(bodies).__name__}"
            ) from None
        self._form = put_form(*numbers)  # refuses bad numbers before the first body is taken
        #: the id of each body that was taken; None for one that did not go in
        self.ids: list[int | None] = []
        #: the first error, after which no more bodies are taken
        self.error: BaseException | None = None
        #: whether there are no more bodies to take
        self.exhausted = False
        self._unsent = 0

    def next_chunk(self, ended: Callable[[BeanstalkException | None], object]) -> PutChunk | None:
        """Take the next bodies, and return their puts; None if there are none.

        :param ended: called when all puts of the chunk are settled
        """
        payloads = self.next_payloads(CHUNK)
        if not payloads:
            return None
        return PutChunk(b"".join(payloads), len(payloads), self.ids, ended)

    def next_payloads(self, count: int) -> list[bytes]:
        """Take up to `count` bodies, and return the put of each; an empty list if none is left."""
        payloads: list[bytes] = []
        size = 0
        try:
            form = self._form
            for given in islice(self._bodies, count):
                body = check_body(given)
                payload = form % (len(body), body)
                payloads.append(payload)
                size += len(payload)
                if size >= CHUNK_BYTES:
                    break
            else:
                self.exhausted = len(payloads) < count
        except BaseException as error:
            # Of a body, or of the generator that makes them. CancelledError too: the caller has
            # not cancelled anything, and bodies are missing.
            self.fail(error)
        return payloads

    def fail(self, error: BaseException, unsent: int = 0) -> None:
        """Take no more bodies because of this error, unless there was one before.

        :param unsent: bodies that were taken last, and for which there was no connection
        """
        self._unsent += unsent
        if self.error is None:
            self.error = error
        self.exhausted = True

    def failure(self) -> BaseException | None:
        """Return the error to raise, with ``.ids``; None if there was none."""
        error = self.error
        if error is None:
            return None
        self.ids += [None] * self._unsent
        if isinstance(error, BeanstalkException):
            put = sum(job_id is not None for job_id in self.ids)
            error.args = (f"{error} (put_many: {put} went in; see .ids)",)
        elif isinstance(error, StopIteration):
            error = _not_the_end(error)  # no Future takes this one
        with suppress(AttributeError):  # a property of a class of the caller's own
            object.__setattr__(error, "ids", self.ids)  # also where a class allows no new ones
        return error


def _not_the_end(stop: StopIteration) -> RuntimeError:
    error = RuntimeError("put_many: a body raised StopIteration")
    error.__cause__ = stop
    return error
