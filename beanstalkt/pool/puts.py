"""A put of a pool: on one server, and on the next if that one does not take it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..client.requests import UNWRITTEN, Request
from ..errors import BeanstalkException
from ..protocol.commands import PUT
from .failover import may_go_on, worse
from .member import Member
from .membership import Membership, note


class PoolPut(Request):
    """A put on one server; what it leaves to the next one is another request.

    :param tube: that the job goes to; None: the tube in use
    :param others: the servers to try after this one, in order; None: all others of `membership`
    :param may_double: go on where the first server may have taken the job
    :param error: why the servers before did not take it
    """

    __slots__ = ("_error", "_may_double", "_member", "_membership", "_others", "_put", "_tube")

    def __init__(
        self,
        put: bytes,
        result: Any,
        tube: str | None,
        membership: Membership[Member],
        others: Iterator[Member] | None,
        may_double: bool,
        error: BeanstalkException | None = None,
    ) -> None:
        # What other requests are made of; a call more takes longer.
        self.command = PUT
        self.payload = put
        self.result = result
        self.position = UNWRITTEN
        self._put = put  # the payload goes once it is written
        self._tube = tube
        self._membership = membership
        self._others = others
        self._may_double = may_double
        self._error = error
        self._member: Member | None = None  # that it is on

    def put_on(self, member: Member) -> None:
        """Send it to a server."""
        self._member = member
        member.outstanding += 1
        client = member.client
        connection = client.connection
        if connection is None:
            self.lost(client.reason, sent=False)
            return
        home = client.tubes.asked
        if self._tube is None or self._tube == home:
            connection.send(self)
        else:
            connection.send_in_tube(self, self._tube, home)

    def done(self, value: Any) -> None:
        """Settle the put with the id of the job."""
        member = self._member
        if member is not None:
            self._member = None
            member.outstanding -= 1
            result = self.result
            if not result.done():
                result.set_result(f"{member.server.name}/{value}")

    def failed(self, error: BeanstalkException) -> None:
        """Go on to the next server if the put may, else settle it with the error."""
        member, self._member = self._member, None
        if member is None:
            return
        member.outstanding -= 1
        note(error, member)
        if self.result.done():
            return
        if not may_go_on(error, self._may_double):
            self.result.set_exception(error)
            return
        error = worse(error, self._error)
        others = self._others
        if others is None:
            due = self._membership.to_put_on(None, strict=False)
            others = (other for other in due if other is not member)
        following = next(others, None)
        if following is None:
            self.result.set_exception(error)
        else:
            PoolPut(
                self._put,
                self.result,
                self._tube,
                self._membership,
                others,
                self._may_double,
                error,
            ).put_on(following)
