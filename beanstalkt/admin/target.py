"""The server that jobs are put to as they were elsewhere: in their tubes and in their states."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..client.bulk import MISSING, Bulk
from ..client.client import Client
from ..errors import BeanstalkException, Buried, ConnectionLost
from ..protocol.commands import BURY, DELETE, RESERVE_JOB, encode_put
from .portable import PortableJob

HIDDEN = 2**32 - 1
"""The delay in seconds of a job that is about to be buried, so that no worker gets it before."""

Outcome = int | BeanstalkException
"""The id of a job that was put; or why it was not, which is not known after ConnectionLost."""

Sent = tuple[list[int], "asyncio.Future[list[Any]]"]
"""The places of some jobs among those that are put, and what will become of their puts."""


class Target:
    """Put jobs into a server with the tube, state, priority, ttr and delay they had elsewhere.

    A job that was buried is put with a delay of 136 years, and is reserved and buried in one go
    as soon as its id is known. In between, the server has it as a delayed job.

    :param client: a client of the server; raises ConnectionLost if it is not connected
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bulk = Bulk(client)

    def put(self, jobs: Sequence[PortableJob]) -> Placing:
        """Send the puts of some jobs now; return a Placing, which waits for the outcomes.

        Within a tube, they get their ids in the order of the jobs.
        """
        by_tube: dict[str, list[int]] = {}
        payloads = []
        for place, job in enumerate(jobs):
            payloads.append(encode_put(job.priority, put_delay(job), job.ttr, job.body))
            by_tube.setdefault(job.tube, []).append(place)
        sent: list[Sent] = []
        with self._client.together():
            for tube, places in by_tube.items():
                try:
                    sent.append((places, self._bulk.put([payloads[i] for i in places], tube)))
                except ConnectionLost as error:
                    sent.append((places, settled([error] * len(places))))
        buried = [(i, job.priority) for i, job in enumerate(jobs) if job.state == "buried"]
        return Placing(self, len(jobs), sent, buried)

    async def remove(self, ids: Sequence[int]) -> list[bool | BeanstalkException]:
        """Delete jobs that were put here; return of each whether it was there and free."""
        if not ids:
            return []
        found = await answer(self._bulk.send(DELETE, [b"delete %d\r\n" % each for each in ids]))
        return [each if isinstance(each, BeanstalkException) else each is None for each in found]

    async def bury(self, jobs: Sequence[tuple[int, int]]) -> list[Outcome]:
        """Reserve jobs, given by id and priority, and bury them; return each id, or the error.

        A job that does not exist, or that another connection has reserved, counts as buried: it
        was deleted or kicked on purpose.
        """
        if not jobs:
            return []
        pairs = []
        with self._client.together():
            for job_id, priority in jobs:
                # Each bury next to its reserve: were the connection lost between the two, the
                # job would become ready.
                try:
                    reserve = self._bulk.send(RESERVE_JOB, [RESERVE_JOB.encode(job_id)])
                    pairs.append((reserve, self._bulk.send(BURY, [BURY.encode(job_id, priority)])))
                except ConnectionLost as error:
                    pairs.append((settled([error]), settled([error])))
        outcomes: list[Outcome] = []
        for (job_id, _), (reserve, bury) in zip(jobs, pairs, strict=True):
            (reserved,), (buried,) = await answer(reserve), await answer(bury)
            failed = next(
                (each for each in (reserved, buried) if isinstance(each, BeanstalkException)), None
            )
            outcomes.append(job_id if reserved is MISSING or failed is None else failed)
        return outcomes


class Placing:
    """Wait for the replies to puts that have been sent, and bury the jobs that were buried."""

    def __init__(
        self,
        target: Target,
        count: int,
        sent: list[Sent],
        buried: list[tuple[int, int]],
    ) -> None:
        self._target = target
        self._count = count
        self._sent = sent
        self._buried = buried  # the place and the priority of each job to bury

    async def finish(self) -> list[Outcome]:
        """Wait until all jobs are in their states; return the outcome of each, in order.

        It may be called again after it was cancelled.
        """
        outcomes: list[Any] = [None] * self._count
        for places, future in self._sent:
            for place, outcome in zip(places, await answer(future), strict=True):
                outcomes[place] = outcome
        await self._remove([each.job_id for each in outcomes if isinstance(each, Buried)])
        hidden = [
            (place, priority)
            for place, priority in self._buried
            if isinstance(outcomes[place], int)
        ]
        ended = await self._target.bury([(outcomes[place], pri) for place, pri in hidden])
        unburied = []
        for (place, _), outcome in zip(hidden, ended, strict=True):
            if isinstance(outcome, BeanstalkException):
                unburied.append(outcomes[place])
            outcomes[place] = outcome
        await self._remove(unburied)
        return outcomes

    async def _remove(self, ids: Sequence[int | None]) -> None:
        """Remove jobs that are not as they should be; the errors because of that stay.

        They are those that a server without memory has buried when it refused them, and those
        that it did not bury.
        """
        with suppress(ConnectionLost):
            await self._target.remove([each for each in ids if each is not None])


def put_delay(job: PortableJob) -> int:
    """Return the delay in seconds that a job is put with."""
    return HIDDEN if job.state == "buried" else job.delay


async def answer(future: asyncio.Future[list[Any]]) -> list[Any]:
    """Return the result of what was sent in bulk; cancelling leaves it to be asked for again."""
    return await asyncio.shield(future)


def settled(value: list[Any]) -> asyncio.Future[list[Any]]:
    """Return a Future that has this result already."""
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
