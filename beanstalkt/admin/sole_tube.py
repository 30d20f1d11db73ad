"""Deleting all jobs of a tube that is the only one with jobs: no look at any of them is needed.

A job never changes its tube, and ids rise. So where all jobs that a server has are in one tube, a
job with one of the ids that were given by then is in that tube, or does not exist. The server's
statistics prove that, if these hold:

- Between two looks at the statistics of the server nothing was put or deleted, and in between the
  tube had as many jobs as the server had in all.
- Every put command that the server has ever got has become a job. So no body is still under way
  for which there is an id already.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from ..client.bulk import MISSING, Bulk, raise_lost
from ..client.client import Client
from ..errors import NotFound
from ..protocol.commands import DELETE
from .change import BATCH, count_results
from .extent import highest_id_of, live
from .progress import OnProgress, Progress, Summary
from .record import SETTLED_STATES, unread
from .scan import PROGRESS_INTERVAL

SPARSE = 2
"""How many ids there may be for each job. Where there are more, another way is quicker."""

UNCHANGED = ("id", "cmd-put", "cmd-delete", "total-jobs")
"""The statistics of the server that must be the same before and after the look at the tube."""

ANY_STATE = "of unknown state"
"""What a summary says of jobs whose state is not known."""


def proven(
    before: Mapping[str, Any], tube: Mapping[str, Any], after: Mapping[str, Any]
) -> int | None:
    """Return the id up to which every job is in this tube; None if the statistics do not prove it.

    :param before: statistics of the server
    :param tube: statistics of the tube, asked for between the other two
    :param after: statistics of the server
    """
    highest = highest_id_of(before)  # type: ignore[arg-type]
    if (
        highest is None
        or highest != before.get("total-jobs")
        or any(before.get(key) != after.get(key) for key in UNCHANGED)
        or not live(before) == live(tube) == live(after)
    ):
        return None
    return highest


class SoleTubeDeletion:
    """Delete the jobs of a tube, whatever state they have, if it can be the only one with jobs."""

    def __init__(
        self,
        client: Client,
        tube: str,
        summary: Summary,
        limit: int | None,
        progress: OnProgress | None,
    ) -> None:
        self._client = client
        self._tube = tube
        self._summary = summary
        self._limit = limit
        self._progress = progress
        self._deleted = 0
        self._began = self._told = time.monotonic()

    async def run(self) -> None:
        """Delete them, or do nothing. Cancelled, it ends between two jobs.

        Raises ConnectionLost.
        """
        bulk = Bulk(self._client)
        with self._client.together():
            asked = (
                self._client.stats(),
                self._client.stats_tube(self._tube),
                self._client.stats(),
            )
        before, tube, after = await asyncio.gather(*asked, return_exceptions=True)
        for found in (before, tube, after):
            if isinstance(found, NotFound):
                return
            if isinstance(found, BaseException):
                raise found
        stats: Any = tube
        highest = proven(before, stats, after)  # type: ignore[arg-type]
        if highest is None or bulk.jobs or highest > SPARSE * live(stats):
            return
        await self._delete(bulk, highest, stats)

    async def _delete(self, bulk: Bulk, highest: int, stats: Mapping[str, Any]) -> None:
        chunks: deque[tuple[range, asyncio.Future[list[Any]]]] = deque()
        next_id, cancelled = 1, False
        while True:
            while len(chunks) < 2 and not cancelled:
                under_way = sum(len(ids) for ids, _ in chunks)
                count = min(BATCH, highest + 1 - next_id)
                if self._limit is not None:
                    count = min(count, self._limit - self._summary.done - under_way)
                if count <= 0:
                    break
                ids = range(next_id, next_id + count)
                chunks.append((ids, bulk.send(DELETE, [b"delete %d\r\n" % each for each in ids])))
                next_id += count
            if not chunks:
                break
            try:
                await asyncio.wait([chunks[0][1]])
            except asyncio.CancelledError:
                cancelled = self._summary.interrupted = True
                continue
            ids, sent = chunks.popleft()
            self._count(sent.result())
            self._tell(ids.stop - 1, highest)
            raise_lost(sent.result())
        self._name_states(stats)
        self._tell(highest, highest, at_end=True)
        if cancelled:
            raise asyncio.CancelledError

    def _count(self, results: list[Any]) -> None:
        """Count what became of some ids. Those without a job were never jobs of the tube."""
        known = [result for result in results if result is not MISSING]
        self._deleted += known.count(None)
        each: Any = unread(0, self._tube, ANY_STATE)  # type: ignore[arg-type]  # it is not known
        count_results(self._summary, [each] * len(known), known)

    def _name_states(self, stats: Mapping[str, Any]) -> None:
        """Count the states that the jobs had, where all that there were were deleted."""
        counts = {state: stats.get(f"current-jobs-{state}", 0) for state in sorted(SETTLED_STATES)}
        if self._deleted and self._deleted == sum(counts.values()):
            del self._summary.states[ANY_STATE]
            self._summary.states += Counter(counts)

    def _tell(self, done: int, highest: int, at_end: bool = False) -> None:
        now = time.monotonic()
        if self._progress is not None and (at_end or now - self._told >= PROGRESS_INTERVAL):
            self._told = now
            seconds = now - self._began
            self._progress(Progress("ids", done, highest, seconds, self._summary.done))
