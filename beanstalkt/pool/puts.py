"""A put of a pool: on one server, and on the next if that one does not take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..client.requests import Request
from ..errors import BeanstalkException
from ..protocol.commands import PUT
from .failover import may_go_on, worse
from .member import Member
from .membership import note


class PoolPut(Request):
    """A put on one server; what it leaves to the next one is another request.

    :param members: the servers to try, in order
    :param may_double: go on where the first server may have taken the job
    """

    __slots__ = ("_error", "_may_double", "_member", "_members", "_put", "_tube")

    def __init__(
        self,
        put: bytes,
        result: Any,
        tube: str | None,
        members: Iterator[Member],
        may_double: bool,
        error: BeanstalkException | None = None,
    ) -> None:
        super().__init__(PUT, put, result)
        self._put = put  # the payload goes once it is written
        self._tube = tube
        self._members = members
        self._may_double = may_double
        self._error = error  # of a server before
        self._member: Member | None = None  # that it is on

    def start(self, nobody: Callable[[], BeanstalkException] | None = None) -> None:
        """Put on the first server.

        :param nobody: returns the error if there is no server to try
        """
        member = next(self._members, None)
        if member is None:
            error = self._error
            if error is None and nobody is not None:
                error = nobody()
            if error is not None:
                self.result.set_exception(error)
            return
        self._member = member
        member.outstanding += 1
        member.send(self, self._tube)

    def done(self, value: Any) -> None:
        """Settle the put with the id of the job."""
        member = self._member
        if member is not None:
            self._member = None
            member.outstanding -= 1
            if not self.result.done():
                self.result.set_result(f"{member.server.name}/{value}")

    def failed(self, error: BeanstalkException) -> None:
        """Go on to the next server if the put may, else settle it with the error."""
        member, self._member = self._member, None
        if member is None:
            return
        member.outstanding -= 1
        note(error, member)
        if self.result.done():
            return
        if may_go_on(error, self._may_double):
            error = worse(error, self._error)
            PoolPut(
                self._put, self.result, self._tube, self._members, self._may_double, error
            ).start()
        else:
            self.result.set_exception(error)
