"""Scouts: the connections on which reserves wait, one armed for each server.

A server answers nothing else on a connection while a reserve waits there. So a connection waits or
it holds a job, never both: a job that a scout has brought is held on the scout's connection, which
waits again when the job is settled; meanwhile another scout waits for the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

from ..client.client import Client
from ..client.connection import Connection
from ..client.requests import NO_CONNECTION, Holder, ReserveRequest
from ..errors import BeanstalkException, NotFound
from ..protocol.commands import RESERVE
from .job import PoolJob


class ScoutResult:
    """Stand for the Future of a reserve that no single caller waits for."""

    holder: Holder | None = NO_CONNECTION

    def __init__(self) -> None:
        self.settled = False

    def done(self) -> bool:
        """Return whether nobody wants the job of this reserve any more."""
        return self.settled

    def set_result(self, result: Any, /) -> None:
        """Do nothing: the request itself hands its job on."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Do nothing: the request itself tells of its failure."""

    def __hash__(self) -> int:
        return id(self)


class ScoutReserve(ReserveRequest):
    """Wait at one server for a job, whoever is to have it."""

    __slots__ = ("_arrived", "_gone")

    def __init__(
        self,
        client: Client,
        arrived: Callable[[int, bytes, Holder], object],
        gone: Callable[[BeanstalkException], object],
    ) -> None:
        super().__init__(RESERVE, RESERVE.form, ScoutResult(), client)
        self._arrived = arrived
        self._gone = gone

    def done(self, value: Any) -> None:
        """Hand the job on, unless the scout was closed: then the server takes it back."""
        if self.result.done():
            return
        job_id, body = value
        holder = self.holder
        holder.jobs.add(job_id)
        self._arrived(job_id, body, holder)

    def failed(self, error: BeanstalkException) -> None:
        """Tell that it waits no more."""
        if not self.result.done():
            self._gone(error)


class Scout:
    """A connection to one server that waits for a job, or holds the one that it has brought.

    :param client: watches what the pool watches, and is not connected yet
    :param arrived: called with this scout and the job that it has brought: its number, its body,
        and the connection that holds it
    :param gone: called with this scout when the server has ended its wait by an error
    :param reconnected: called with the client when it has another connection than before
    """

    def __init__(
        self,
        client: Client,
        arrived: Callable[[Scout, int, bytes, Holder], object],
        gone: Callable[[Scout], object],
        reconnected: Callable[[Client], object],
    ) -> None:
        self.client = client
        #: whether it waits, or is about to
        self.armed = False
        #: whether it watches what the pool no longer does
        self.stale = False
        self._arrived = arrived
        self._gone = gone
        self._request: ScoutReserve | None = None
        self._lease: Callable[[], PoolJob | None] = _nothing
        self._next_look: asyncio.TimerHandle | None = None  # at a job that nobody has
        client.set_reconnect_callback(lambda: self._reconnected(reconnected))

    def arm(self) -> None:
        """Wait for a job, connecting first if need be."""
        self.armed = True
        if self.client.connection is None:
            self.client.connect(self._connected)
        else:
            self._wait()

    def _connected(self, error: BaseException | None = None) -> None:
        if error is None and self.armed and self._request is None:
            self._wait()

    def _wait(self) -> None:
        connection = self.client.connection
        if connection is None:
            return  # lost again, until the client is connected again
        request = ScoutReserve(self.client, self._bring, self._fail)
        request.holder = request.result.holder = connection
        self._request = request
        connection.send(request)

    def _reconnected(self, tell: Callable[[Client], object]) -> None:
        if self.armed and self._request is None:
            self._wait()
        tell(self.client)

    def _bring(self, number: int, body: bytes, holder: Holder) -> None:
        self.armed = False
        self._request = None
        self._arrived(self, number, body, holder)

    def _fail(self, error: BeanstalkException) -> None:
        self.armed = False
        self._request = None
        self._gone(self)

    def lend(self, job: PoolJob) -> None:
        """Keep the connection for this job, until the job is settled or its object is gone."""
        job.lease = self
        self._lease = ref(job, partial(self._forgotten, job.holder, job.number))

    def _forgotten(self, connection: Connection, number: int, _: object) -> None:
        """Look after a job of which the object is gone, though it was not settled."""
        with suppress(RuntimeError):  # the loop was closed
            # The garbage may be collected in any thread.
            connection.loop.call_soon_threadsafe(self._look, connection, number)

    def _look(self, connection: Connection, number: int) -> None:
        """Ask whether the job is still reserved.

        A server may not notice that a time to run is over while the connection says nothing.
        """
        self._next_look = None
        if self.client.connection is connection and number in connection.jobs:
            self.client.stats_job(number, partial(self._looked, connection, number))

    def _looked(self, connection: Connection, number: int, found: Any) -> None:
        if isinstance(found, NotFound) or (
            not isinstance(found, BaseException) and found["state"] != "reserved"
        ):
            connection.jobs.discard(number)
        elif not isinstance(found, BaseException) and self.client.connection is connection:
            self._next_look = connection.loop.call_later(
                max(1, found["time-left"] + 1), self._look, connection, number
            )

    def end_lease(self) -> None:
        """Free the connection: its job is settled, or is no longer held by it."""
        self._lease = _nothing

    @property
    def free(self) -> bool:
        """Whether it neither waits nor holds a job."""
        if self.armed or self._lease() is not None:
            return False
        connection = self.client.connection
        return connection is None or not connection.jobs

    def holds(self, number: int) -> bool:
        """Return whether its connection holds the job with this number."""
        connection = self.client.connection
        return connection is not None and number in connection.jobs

    def close(self) -> Any:
        """End the connection; the server takes back the job that was on its way.

        Returns a Future.
        """
        self.armed = False
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._request is not None:
            self._request.result.settled = True  # type: ignore[attr-defined]  # is a ScoutResult
            self._request = None
        self._lease = _nothing
        return self.client.close()


def _nothing() -> None:
    """Return no job: none is lent."""
