"""The job as a blocking client sees it: its methods return when the server has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import job
from ..errors import InvalidArgument
from ..job import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from ..protocol.stats import StatsJob


class Job(job.Job):
    """A job whose methods block: ``job.delete()`` returns once the job is deleted."""

    __slots__ = ()

    _client: Any

    def delete(self) -> None:  # type: ignore[override]  # nothing is awaited here
        """Delete this job, as :meth:`Client.delete` does."""
        self._blocking().delete(self)

    def release(  # type: ignore[override]
        self, priority: int | None = DEFAULT_PRIORITY, delay: int = 0
    ) -> None:
        """Release this job to its tube, as :meth:`Client.release` does."""
        self._blocking().release(self, priority, delay)

    def bury(self, priority: int | None = DEFAULT_PRIORITY) -> None:  # type: ignore[override]
        """Bury this job until it is kicked, as :meth:`Client.bury` does."""
        self._blocking().bury(self, priority)

    def touch(self) -> None:  # type: ignore[override]
        """Touch this job, so that its time to run begins again, as :meth:`Client.touch` does."""
        self._blocking().touch(self)

    def stats(self) -> StatsJob:  # type: ignore[override]
        """Return the statistics of this job, as :meth:`Client.stats_job` does."""
        found: StatsJob = self._blocking().stats_job(self)
        return found

    def __reduce__(self) -> tuple[type[job.Job], tuple[int, bytes]]:
        # A connection cannot be pickled; the id and the body can.
        return Job, (self.id, self.body)

    def _blocking(self) -> Any:
        if self._client is None:
            raise InvalidArgument(
                f"job {self['id']} has no client: pass its id to a method of a client instead"
            )
        return self._client
