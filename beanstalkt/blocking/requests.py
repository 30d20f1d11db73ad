"""The reserves of a blocking client, whose caller cannot have gone before the reply comes."""

from __future__ import annotations

from typing import Any

from ..client.requests import ReserveRequest


class BlockingReserve(ReserveRequest):
    """A reserve that may wait at the server.

    No job of it is ever without a caller, so nothing is noted of what the connection holds.
    """

    __slots__ = ()

    def done(self, value: Any) -> None:
        """Settle the request with the value of a successful reply."""
        job_id, body = value
        self.result.set_result(self.client.job_type(job_id, body, self.client, self.holder))


class BlockingReserveNow(BlockingReserve):
    """A reserve that the server answers at once."""

    __slots__ = ()

    blocks = False
