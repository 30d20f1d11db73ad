"""Moving and copying jobs to another tube or another server, with all that they have.

A job is put at the target before it is deleted at the source, so that none is lost whatever ends
in between; at the worst it is in both places then, which concerns the jobs under way only.

A ready job is reserved first, so that no worker takes it meanwhile. One that is buried, or delayed
for long, is not: no worker takes it, and a reservation would make it ready if it were cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from ..client.bulk import MISSING, Bulk, raise_lost
from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost, UnexpectedResponse
from ..protocol.arguments import TUBE
from ..protocol.commands import DELETE
from .change import Change, count
from .claim import Claim, claim, give_back
from .destination import check_tube, is_same, there_already
from .keeping import kept
from .portable import PortableJob, portable
from .progress import OnError, OnProgress, Summary, check_on_error
from .record import SETTLED_STATES, STATES, JobRecord
from .scan import BODY, LOOK
from .selection import Selection
from .several import on_each
from .target import Outcome, Target, answer

BATCH = 128
"""Jobs that are moved in one go."""

AT_ONCE = 4
"""Batches under way, each of which waits for one of the two servers most of the time."""

FIRST = 16
"""Jobs that are moved first, before anything is known of the sizes of bodies."""

SIZE = 2**19
"""Bytes of bodies to move in one go, as far as the sizes of the latest ones tell."""

MAX_SIZE = 2**24
"""Bytes of bodies to move in one go at the most, unless a single one can be longer."""

LONG = 30
"""Seconds of delay from which on a job is moved without reserving it: far longer than it takes."""

STOPPED = "stopped because of that refusal: the jobs that had not been sent stay as they were"

CHANGED = "they had changed since they were seen"


@on_each("moved", leave_out=there_already)
async def move(
    client: Client,
    selection: Selection,
    *,
    to: Client | None = None,
    tube: str | None = None,
    on_error: OnError = "stop",
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Move the jobs of a selection to another tube or server; return what was done.

    They keep their tube (unless `tube` is given), priority, ttr, what is left of their delay, and
    are buried if they were; they get new ids, and their age and counters begin again. Jobs that
    are reserved are left alone. Workers may go on taking jobs from the same tubes.

    No job is lost, whatever ends meanwhile. At the most 512 jobs are under way at a time: when
    the process is killed or a connection is lost, some of those may be in both places, and those
    that were delayed for less than 30 s may be ready. The copy of a job that was about to be
    buried shows as delayed, for 136 years, so that no worker gets it.

    :param client: or clients by the names of their servers, as `pool.clients`; then the summary
        tells of each server too, a lost one does not keep the others from being done, and the
        limit is that of all
    :param to: a client of the server to move them to; None: the same server, of several each job's
        own. Where that server is one of several, its own jobs stay, unless `tube` is given
    :param tube: the tube to move them to; None: one of the same name
    :param on_error: after the target refused a job: ``"stop"``, or ``"skip"`` it and go on; it
        stays where it was
    :param dry_run: change nothing, and count what would be moved
    :param limit: the number of jobs to move at the most; None: no limit
    :param progress: called some times a second
    :param summary: filled in on the way, so that it tells what was done also after an error

    Cancelled, it ends between two jobs. Raises ConnectionLost, and InvalidArgument if the jobs
    would be moved to where they are.
    """
    transfer = await _transfer("moved", client, selection, to, tube, summary, on_error)
    change = Change(
        client,
        selection,
        SETTLED_STATES,
        transfer.summary,
        dry_run=dry_run,
        limit=limit,
        progress=progress,
        batch=BATCH,
        heads=on_error == "stop",
        at_once=AT_ONCE,
        in_one_step=False,
    )
    transfer.change = change
    return await change.run(transfer.move)


@on_each("copied", leave_out=there_already)
async def copy(
    client: Client,
    selection: Selection,
    *,
    to: Client | None = None,
    tube: str | None = None,
    on_error: OnError = "stop",
    dry_run: bool = False,
    limit: int | None = None,
    progress: OnProgress | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Put a copy of each job of a selection into another tube or server; return what was done.

    The jobs themselves stay as they are. The copy of a job that is reserved is ready. The
    arguments, the result and the errors are those of :func:`move`.
    """
    transfer = await _transfer("copied", client, selection, to, tube, summary, on_error)
    change = Change(
        client,
        selection,
        STATES,
        transfer.summary,
        dry_run=dry_run,
        limit=limit,
        progress=progress,
        batch=BATCH,
        heads=False,
        at_once=AT_ONCE,
    )
    transfer.change = change
    return await change.run(transfer.copy)


async def _transfer(
    action: str,
    client: Client,
    selection: Selection,
    to: Client | None,
    tube: str | None,
    summary: Summary | None,
    on_error: OnError,
) -> Transfer:
    """Check where the jobs come from and go to; return what takes them there."""
    check_on_error(on_error)
    if tube is not None:
        TUBE.check(tube)
    summary = Summary() if summary is None else summary
    summary.action = action  # before it waits: an interrupt may come at any time
    target = client if to is None else to
    here, there = await client.stats(), await target.stats()
    if target is client or is_same(here, there):
        check_tube(selection, tube)
    max_job_size = here.get("max-job-size", 2**16)
    return Transfer(Target(target), selection, tube, summary, on_error, max_job_size)


@dataclass(slots=True)
class MovingJob:
    """Hold a job on its way: what was seen of it last, and the claim if it is reserved."""

    record: JobRecord
    job: PortableJob
    claim: Claim | None = None


class Turn(NamedTuple):
    """When a batch may be put, so that batches are put in the order in which they were found."""

    #: set when the batch before has sent its puts
    before: asyncio.Event
    #: to be set when this batch has sent its own
    sent: asyncio.Event


class Transfer:
    """Take batches of jobs from a source to a target.

    :param max_job_size: the most bytes that a body at the source can have
    """

    def __init__(
        self,
        target: Target,
        selection: Selection,
        tube: str | None,
        summary: Summary,
        on_error: OnError,
        max_job_size: int,
    ) -> None:
        self.summary = summary
        #: what finds the jobs, and is told to find no more after a refusal
        self.change: Change | None = None
        self._target = target
        self._selection = selection
        self._tube = tube
        self._on_error = on_error
        self._stopped = False
        self._last_sent = asyncio.Event()  # set when the last batch has sent its puts
        self._last_sent.set()
        self._most = max(1, min(BATCH, MAX_SIZE // max(1, max_job_size)))
        self._count = min(FIRST, self._most)  # jobs in the next part of a batch

    async def move(self, bulk: Bulk, records: Sequence[JobRecord]) -> None:
        """Put jobs at the target, and delete those that it took from where they were."""
        with self._in_turn() as turn:
            for part, is_last in self._parts(records):
                jobs = await self._take(bulk, part)
                with kept(bulk, [each.claim for each in jobs if each.claim is not None]):
                    outcomes = await self._put(jobs, turn, is_last)
                await self._settle(bulk, jobs, outcomes)

    async def copy(self, bulk: Bulk, records: Sequence[JobRecord]) -> None:
        """Put jobs at the target, and leave them where they are."""
        with self._in_turn() as turn:
            for part, is_last in self._parts(records):
                jobs = await self._look(bulk, part)
                outcomes = await self._put(jobs, turn, is_last)
                for each, outcome in zip(jobs, outcomes, strict=True):
                    if isinstance(outcome, int):
                        count(self.summary, each.record)
                    else:
                        self._refused(each.record, outcome)
                _raise_lost(outcomes)

    # --- in turn, and in bounded memory -------------------------------------------------------

    @contextmanager
    def _in_turn(self) -> Iterator[Turn]:
        turn = Turn(self._last_sent, asyncio.Event())
        self._last_sent = turn.sent
        try:
            yield turn
        finally:
            turn.sent.set()

    def _parts(self, records: Sequence[JobRecord]) -> Iterator[tuple[Sequence[JobRecord], bool]]:
        """Yield records in parts whose bodies fit into memory, and whether it is the last one.

        Ends early when no more jobs are to be put.
        """
        place = 0
        while place < len(records) and not self._stopped:
            part = records[place : place + self._count]
            place += len(part)
            yield part, place == len(records)

    async def _put(self, jobs: Sequence[MovingJob], turn: Turn, is_last: bool) -> list[Outcome]:
        """Put jobs at the target in turn; return what became of each."""
        largest = max((len(each.job.body) for each in jobs), default=0)
        self._count = max(1, min(SIZE // (largest + 1), 2 * self._count, self._most))
        await turn.before.wait()
        placing = self._target.put([each.job for each in jobs])
        if is_last:
            turn.sent.set()
        return await placing.finish()

    # --- at the source ------------------------------------------------------------------------

    async def _take(self, bulk: Bulk, records: Sequence[JobRecord]) -> list[MovingJob]:
        """Look at the jobs that stay where they are, and claim the others, in the given order."""
        records = [each for each in records if each.id not in bulk.jobs]
        jobs: dict[int, MovingJob] = {}
        others = [each for each in records if each.state == "ready"]
        for job in await self._look(bulk, [each for each in records if each.state != "ready"]):
            if _stays(job.record):
                jobs[job.record.id] = job
            elif job.record.state != "reserved":
                others.append(job.record)  # its delay is nearly over, or it was kicked
            else:
                self.summary.vanished += 1
        heads = self.change is not None and self.change.by_heads
        claims = await claim(bulk, others, look_before=heads) if others else []
        self.summary.vanished += len(others) - len(claims)
        changed = []
        for each in claims:
            record = each.after
            record.state, record.time_left = each.previous
            if each.after.reserves < 0 or not self._selection.matches_stats(record):
                changed.append(each)
            else:
                put = portable(record, each.body, self._tube)
                jobs[record.id] = MovingJob(record, put, each)
        self.summary.skip(CHANGED, len(changed))
        await give_back(bulk, changed)
        return [jobs[each.id] for each in records if each.id in jobs]

    async def _look(self, bulk: Bulk, records: Sequence[JobRecord]) -> list[MovingJob]:
        """Look at jobs once more, with their bodies; those that are gone are counted."""
        if not records:
            return []
        asked = (
            bulk.send(LOOK, [b"stats-job %d\r\n" % each.id for each in records]),
            bulk.send(BODY, [b"peek %d\r\n" % each.id for each in records]),
        )
        looks, bodies = [await answer(each) for each in asked]
        raise_lost(bodies)
        found = []
        for record, body in zip(looks, bodies, strict=True):
            if not (isinstance(record, JobRecord) and isinstance(body, bytes)):
                self.summary.vanished += 1
            elif not self._selection.matches_stats(record):
                self.summary.skip(CHANGED)
            else:
                found.append(MovingJob(record, portable(record, body, self._tube)))
        return found

    async def _settle(
        self, bulk: Bulk, jobs: Sequence[MovingJob], outcomes: Sequence[Outcome]
    ) -> None:
        """Delete the jobs that are at the target now, and give back the others."""
        placed: list[tuple[MovingJob, int]] = []
        refused: list[Claim] = []
        for each, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, int):
                placed.append((each, outcome))
                continue
            self._refused(each.record, outcome)
            if each.claim is not None:
                refused.append(each.claim)
        try:
            await self._delete(bulk, placed)
        finally:
            await give_back(bulk, refused)
            _raise_lost(outcomes)

    async def _delete(self, bulk: Bulk, placed: Sequence[tuple[MovingJob, int]]) -> None:
        """Delete jobs that are at the target now; where that fails, remove those at the target."""
        if not placed:
            return
        try:
            deletes = [b"delete %d\r\n" % job.record.id for job, _ in placed]
            results = await answer(bulk.send(DELETE, deletes))
        except ConnectionLost as error:
            results = [error] * len(placed)
        bulk.jobs.difference_update(job.record.id for job, _ in placed)
        kept_here: list[tuple[MovingJob, int]] = []
        for (job, copy_id), result in zip(placed, results, strict=True):
            if result is None:
                count(self.summary, job.record)
            elif result is MISSING or (isinstance(result, ConnectionLost) and not result.sent):
                kept_here.append((job, copy_id))
            elif isinstance(result, (ConnectionLost, UnexpectedResponse)):
                self.summary.unknown += 1
            else:
                self.summary.fail(
                    job.record.id, f"it is at the target, as job {copy_id}, and here: {result}"
                )
        await self._remove(kept_here)
        raise_lost(results)

    async def _remove(self, jobs: Sequence[tuple[MovingJob, int]]) -> None:
        """Remove from the target what the source still has, or has given to a worker."""
        found: list[bool | BeanstalkException]
        try:
            found = await self._target.remove([copy_id for _, copy_id in jobs])
        except ConnectionLost as error:
            found = [error] * len(jobs)
        for (job, copy_id), removed in zip(jobs, found, strict=True):
            if removed is True:
                self.summary.vanished += 1
            elif isinstance(removed, BeanstalkException):
                self.summary.fail(
                    job.record.id,
                    f"it was not deleted here, and its copy, job {copy_id} of the target, could "
                    f"not be removed: {removed}",
                )
            else:
                self.summary.fail(
                    job.record.id,
                    f"a worker took it while it was moved, and one took its copy, job {copy_id} "
                    "of the target: it is done twice",
                )

    # --- in general ---------------------------------------------------------------------------

    def _refused(self, record: JobRecord, error: BeanstalkException) -> None:
        if isinstance(error, (ConnectionLost, UnexpectedResponse)):
            self.summary.unknown += getattr(error, "sent", True)
            return
        self.summary.fail(record.id, str(error))
        if self._on_error == "stop":
            if not self._stopped:
                self.summary.notes.append(STOPPED)
            self._stopped = True
            if self.change is not None:
                self.change.stop()


def _stays(record: JobRecord) -> bool:
    """Return whether a job stays in its state for long enough to be moved without a claim."""
    if record.state == "delayed":
        return record.time_left >= LONG
    return record.state == "buried"


def _raise_lost(outcomes: Sequence[Outcome]) -> None:
    """Raise the error because of which it is not known what became of some jobs, if any is."""
    for each in outcomes:
        if isinstance(each, (ConnectionLost, UnexpectedResponse)):
            raise each
