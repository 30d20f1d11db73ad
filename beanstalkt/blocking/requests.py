"""The most frequent requests, of a caller that cannot have gone before the reply comes.

Their results are set without asking first whether anybody still waits, which saves two calls for
each reply.
"""

from __future__ import annotations

from typing import Any

from ..client.requests import Request, ReserveRequest, SettleRequest


class PlainRequest(Request):
    """A command whose reply does nothing but settle its result."""

    __slots__ = ()

    def done(self, value: Any) -> None:
        """Settle the request with the value of a successful reply."""
        result: Any = self.result
        result.value = value
        result.settled = True


class BlockingSettle(SettleRequest):
    """A delete, release, bury or touch."""

    __slots__ = ()

    def done(self, value: Any) -> None:
        """Settle the request with the value of a successful reply."""
        if not self.keeps:
            self.jobs.discard(self.job_id)
        result: Any = self.result
        result.settled = True


class BlockingReserve(ReserveRequest):
    """A reserve that may wait at the server."""

    __slots__ = ()

    def done(self, value: Any) -> None:
        """Settle the request with the value of a successful reply."""
        job_id, body = value
        holder, client = self.holder, self.client
        result: Any = self.result
        result.value = client.job_type(job_id, body, client, holder)
        holder.jobs.add(job_id)
        result.settled = True
