"""The reserve of the next job, sent together with the delete of the last one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ..client.client import Client
from ..errors import BeanstalkException
from ..job import Job
from ..pool.pool import Pool


class Prefetch:
    """Reserve the next job in the same write as the delete of the last one.

    A slot that goes from one job to the next saves a write and a turn of the loop by that. While
    a reserve waits, other commands of the same client wait too; so the reserve is cancelled when
    the delete fails, after which the slot has more to ask.

    :param pool: that the next job comes from; None: it comes from the client of the last one
    """

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool
        self._reserve: asyncio.Future[Any] | None = None

    async def delete(self, client: Client, job: Job) -> None:
        """Delete a job, and have the next one reserved.

        Raises what the delete raises; then no other job is reserved.
        """
        with client.together():
            deleted = client.delete(job)
            if not deleted.done():  # not refused before it was sent
                self._reserve = (self._pool or client).reserve()
        try:
            await deleted
        except BaseException:
            await self.release_next()
            raise

    def next(self, source: Client | Pool) -> asyncio.Future[Any]:
        """Return a Future of the next job, which is reserved now unless it was before."""
        reserve, self._reserve = self._reserve, None
        return source.reserve() if reserve is None else reserve

    def cancel(self) -> Job | None:
        """Cancel the reserve of the next job. Return the job if it has already arrived.

        The caller releases that job, or closes the client, which releases it as well.
        """
        reserve, self._reserve = self._reserve, None
        if reserve is None or reserve.cancel() or reserve.cancelled():
            return None
        return reserve.result() if reserve.exception() is None else None

    async def release_next(self) -> None:
        """Cancel the reserve of the next job, and release the job if it has already arrived."""
        job = self.cancel()
        if job is not None:
            # A job whose release fails was lost with its connection, and is ready again.
            with contextlib.suppress(BeanstalkException):
                await job.release(None)
