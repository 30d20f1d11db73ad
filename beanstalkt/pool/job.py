"""The job as a pool sees it: its id names the server that has it."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidArgument
from ..job import Job


class PoolJob(Job):
    """A job of a pool: ``job.id`` is a str such as ``"a/17"``, and ``job.server`` is ``"a"``.

    It is settled on the connection that reserved it. After that one is lost, ``delete``,
    ``release``, ``bury`` and ``touch`` raise :class:`~beanstalkt.errors.ReservationLost`.
    A pickled or copied job has an id and a body, but no pool.
    """

    __slots__ = ("__weakref__", "_number", "client", "holder", "lease")

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name
        body: bytes,
        pool: Any = None,
        origin: object = None,
        client: Any = None,
        number: int | None = None,
        holder: Any = None,
    ) -> None:
        # What the other kind of job does too; a call more takes longer.
        self["body"] = body
        self["id"] = id
        self._client = pool
        self.origin = origin
        #: the client of its server that reserved it; None if the job was only peeked at
        self.client = client
        self._number = number
        #: the connection that reserved it; None if the job was only peeked at
        self.holder = holder
        #: the connection that waited for the job and holds no other; None for any other job
        self.lease: Any = None

    @property
    def id(self) -> str:  # type: ignore[override]
        """Return the name of the server, ``/``, and the number that the server gave to the job."""
        found: str = self["id"]
        return found

    @property
    def server(self) -> str:
        """Return the name of the server."""
        return self.id.rpartition("/")[0]

    @property
    def number(self) -> int:
        """Return the number that the server gave to the job."""
        number = self._number
        return int(self.id.rpartition("/")[2]) if number is None else number

    @property
    def inner(self) -> Job:
        """Return the job as the client that reserved it knows it."""
        if self.client is None:
            raise InvalidArgument(
                f"job {self['id']} has no pool: pass its id to a method of a pool instead"
            )
        made: Job = self.client.job_type(self.number, self.body, self.client, self.holder)
        return made

    def __reduce__(self) -> tuple[type[Job], tuple[Any, bytes]]:
        # A connection cannot be pickled; the id and the body can.
        return PoolJob, (self.id, self.body)
