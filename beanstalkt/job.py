"""The job as a client sees it: an id, a body, and the defaults that it is put with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from .errors import InvalidArgument

if TYPE_CHECKING:
    from .protocol.stats import StatsJob


DEFAULT_PRIORITY = 2**31
"""The priority of a job for which none is given: the middle of the range (section 2.2)."""

DEFAULT_TTR = 120
"""The time to run of a job for which none is given, in seconds (section 2.4)."""


class Verbs(Protocol):
    """Name the verbs of a client that a job uses."""

    def delete(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[None]:
        """Remove a job from its server."""

    def release(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """Give a reserved job back to its tube."""

    def bury(
        self,
        job_id: int | Job,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """Bury a reserved job: put it aside until it is kicked."""

    def touch(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[None]:
        """Start the time to run of a reserved job again."""

    def stats_job(
        self, job_id: int | Job, callback: Callable[[Any], Any] | None = None
    ) -> Awaitable[StatsJob]:
        """Return the statistics of a job."""


class Job(dict[str, Any]):
    """Hold a job: ``job.id`` (int) and ``job.body`` (bytes), also ``job["id"]``, ``job["body"]``.

    A job that was reserved remembers the connection that reserved it. After that connection is
    lost, the job's ``delete``, ``release``, ``bury`` and ``touch`` raise
    :class:`~beanstalkt.errors.ReservationLost` and send nothing.
    A pickled or copied job has an id and a body, but no client.
    """

    __slots__ = ("_client", "origin")

    def __init__(
        self,
        id: int,  # noqa: A002 - the field's name
        body: bytes,
        client: Verbs | None = None,
        origin: object = None,
    ) -> None:
        # Programs print jobs, and expect a dict with the body first.
        self["body"] = body
        self["id"] = id
        self._client = client
        #: the connection that reserved the job; None if the job was only peeked at
        self.origin = origin

    @property
    def id(self) -> int:
        """Return the number that the server gave to the job."""
        number: int = self["id"]
        return number

    @property
    def body(self) -> bytes:
        """Return the body as it was put."""
        body: bytes = self["body"]
        return body

    def delete(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[None]:
        """Delete this job, as :meth:`Client.delete` does."""
        return self._bound().delete(self, callback)

    def release(
        self,
        priority: int | None = DEFAULT_PRIORITY,
        delay: int = 0,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """Release this job to its tube, as :meth:`Client.release` does."""
        return self._bound().release(self, priority, delay, callback)

    def bury(
        self,
        priority: int | None = DEFAULT_PRIORITY,
        callback: Callable[[Any], Any] | None = None,
    ) -> Awaitable[None]:
        """Bury this job until it is kicked, as :meth:`Client.bury` does."""
        return self._bound().bury(self, priority, callback)

    def touch(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[None]:
        """Touch this job, so that its time to run begins again, as :meth:`Client.touch` does."""
        return self._bound().touch(self, callback)

    def stats(self, callback: Callable[[Any], Any] | None = None) -> Awaitable[StatsJob]:
        """Return the statistics of this job, as :meth:`Client.stats_job` does."""
        return self._bound().stats_job(self, callback)

    def __reduce__(self) -> tuple[type[Job], tuple[int, bytes]]:
        # A connection cannot be pickled; the id and the body can.
        return Job, (self.id, self.body)

    def _bound(self) -> Verbs:
        if self._client is None:
            raise InvalidArgument(
                f"job {self['id']} has no client: pass its id to a method of a client instead"
            )
        return self._client


def job_id_of(job: int | Job) -> int:
    """Return the id of a job, which may be given instead of the job."""
    return job.id if isinstance(job, Job) else job
