"""The reserve of the next job, sent with the delete of the last one."""

from __future__ import annotations

import asyncio
import contextlib

from ..client.client import Client
from ..errors import BeanstalkException
from ..job import Job


class Ahead:
    """Saves a slot that goes from one job to the next a write and a turn of the loop.

    Nothing else may be asked of the client while the reserve waits: so it is given up when the
    delete did not succeed.
    """

    def __init__(self) -> None:
        self._reserve: asyncio.Future[Job] | None = None

    async def delete(self, client: Client, job: Job) -> None:
        """Delete the job, and have the next one reserved. Raises what the delete raises; then
        no job is reserved."""
        with client.together():
            deleted = client.delete(job)
            if not deleted.done():  # not refused before it was sent
                self._reserve = client.reserve()
        try:
            await deleted
        except BaseException:
            await self._give_back(client)
            raise

    def next(self, client: Client) -> asyncio.Future[Job]:
        """The next job, whether it has been asked for or not."""
        reserve, self._reserve = self._reserve, None
        return client.reserve() if reserve is None else reserve

    def drop(self) -> Job | None:
        """Ask for no job. One that has come already is returned; closing the client gives it
        back too."""
        reserve, self._reserve = self._reserve, None
        if reserve is None or reserve.cancel() or reserve.cancelled():
            return None
        return reserve.result() if reserve.exception() is None else None

    async def _give_back(self, client: Client) -> None:
        job = self.drop()
        if job is not None:
            # If that fails, it is the server's already.
            with contextlib.suppress(BeanstalkException):
                await client.release(job, None)
