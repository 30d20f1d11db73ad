"""A job as a client sees it: an id and a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from .errors import InvalidArgument
from .protocol.commands import DEFAULT_PRIORITY
from .protocol.stats import StatsJob


class Verbs(Protocol):
    """What a job needs of the client that it came from."""

    def delete(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[None]: ...

    def release(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]: ...

    def bury(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]: ...

    def touch(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[None]: ...

    def stats_job(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[StatsJob]: ...


class Job(dict[str, Any]):
    """A job: ``job.id`` (int) and ``job.body`` (bytes), also as ``job["id"]``, ``job["body"]``.

    A job that was reserved remembers the connection that holds it: once that is gone, its
    ``delete``, ``release``, ``bury`` and ``touch`` raise
    :class:`~beanstalkt.errors.ReservationLost` and send nothing.
    A pickled or copied job is a bare one, without its client.
    """

    __slots__ = ("_client", "origin")

    def __init__(
        self,
        id: int,  # noqa: A002 - the field's name
        body: bytes,
        client: Verbs | None = None,
        origin: object = None,
    ) -> None:
        # In this order, and as a dict, because programs print jobs.
        self["body"] = body
        self["id"] = id
        self._client = client
        #: the connection that reserved it; None for a job that was only looked at
        self.origin = origin

    @property
    def id(self) -> int:
        """The server's number for the job."""
        number: int = self["id"]
        return number

    @property
    def body(self) -> bytes:
        """The body, as it was put."""
        body: bytes = self["body"]
        return body

    def delete(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[None]:
        """:meth:`Client.delete` for this job."""
        return self._bound().delete(self, callback)

    def release(
        self,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """:meth:`Client.release` for this job."""
        return self._bound().release(self, priority, delay, callback)

    def bury(
        self,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """:meth:`Client.bury` for this job."""
        return self._bound().bury(self, priority, callback)

    def touch(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[None]:
        """:meth:`Client.touch` for this job."""
        return self._bound().touch(self, callback)

    def stats(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[StatsJob]:
        """:meth:`Client.stats_job` for this job."""
        return self._bound().stats_job(self, callback)

    def __reduce__(self) -> tuple[type[Job], tuple[int, bytes]]:
        # A connection cannot travel to another process; the id and the body can.
        return Job, (self.id, self.body)

    def _bound(self) -> Verbs:
        if self._client is None:
            raise InvalidArgument("this job came from no client: give its id to a client's method")
        return self._client
