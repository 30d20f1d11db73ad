"""Claims: jobs that are reserved first, so that no other connection changes them meanwhile.

The server deletes a job in whatever state it is by then, and another connection may change that
between a look and a delete. So where only some states are meant, a job is reserved before it is
deleted, buried or moved, with a look before and after. Whatever happens to a job raises one of its
counters, unless a delayed job becomes ready because its delay is over. If nothing but that
reservation happened between the two looks, the job was reserved in the state that was seen first,
and from then on no other connection can delete, bury or release it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..client.bulk import Bulk, raise_lost
from ..errors import ConnectionLost, UnexpectedResponse
from ..protocol.commands import BURY, RELEASE, RESERVE_JOB, Command
from .progress import Summary
from .record import JobRecord, State
from .scan import LOOK
from .selection import Selection

CHANGED = "they had changed since they were seen, and were given back"
"""Why a job is left alone that was not reserved in the state that was seen."""

RESERVE = replace(RESERVE_JOB, read=lambda words, data: data)
"""The command reserve-job, with the body for its result."""


@dataclass(frozen=True)
class Claim:
    """Hold what was seen of a job just before and just after this connection reserved it."""

    #: just before it was reserved
    before: JobRecord
    #: just after it was reserved
    after: JobRecord
    #: between the first look and the second, in seconds
    elapsed: float
    body: bytes = b""

    @property
    def unchanged(self) -> bool:
        """Whether the job was reserved in the state that was seen before."""
        before, after = self.before, self.after
        return (
            before.state != "reserved"
            and before.reserves + 1 == after.reserves
            and _others(before) == _others(after)
            and not (before.state == "delayed" and before.time_left <= self.elapsed)
        )

    @property
    def previous(self) -> tuple[State, int]:
        """The state that the job was most probably reserved in, and what was left of its delay."""
        before, after = self.before, self.after
        if _others(before) == _others(after) and after.reserves in (-1, before.reserves + 1):
            left = before.time_left - int(self.elapsed)
            if before.state == "delayed" and left > 0:
                return "delayed", left
            return ("buried", 0) if before.state == "buried" else ("ready", 0)
        buries, kicks = after.buries - before.buries, after.kicks - before.kicks
        if buries and buries + (before.state == "buried") > kicks:
            return "buried", 0
        if after.releases > before.releases and after.delay > 0:
            return "delayed", after.delay
        return "ready", 0


def _others(record: JobRecord) -> tuple[int, ...]:
    return (record.priority, record.timeouts, record.releases, record.buries, record.kicks)


async def claim(
    bulk: Bulk, records: Sequence[JobRecord], *, look_before: bool = True
) -> list[Claim]:
    """Reserve jobs by their ids; return a claim for each that was reserved.

    There is none for a job that does not exist, or that is reserved already. The caller has to
    delete, bury or release every job of a claim, also after an error and when it is cancelled.

    Raises ConnectionLost; then the server makes ready what was reserved.

    :param look_before: look at the jobs once more just before they are reserved; otherwise
        `Claim.before` is the given record, and `Claim.elapsed` does not count the time since that
    """
    looks = [b"stats-job %d\r\n" % record.id for record in records]
    began = time.monotonic()
    before = bulk.send(LOOK, looks) if look_before else None
    sent = [
        bulk.send(RESERVE, [b"reserve-job %d\r\n" % record.id for record in records]),
        bulk.send(LOOK, looks),
    ]
    befores = records if before is None else await before
    reserved, afters = [await each for each in sent]
    raise_lost(afters)
    elapsed = time.monotonic() - began
    claims = []
    for record, before, after, done in zip(records, befores, afters, reserved, strict=True):
        if not isinstance(done, bytes):
            continue
        bulk.jobs.add(record.id)
        if isinstance(before, JobRecord) and isinstance(after, JobRecord):
            claims.append(Claim(before, after, elapsed, done))
        else:  # the server refused a look: to be given back as it was seen before
            claims.append(Claim(record, replace(record, reserves=-1), elapsed, done))
    return claims


async def claim_unchanged(
    bulk: Bulk, records: Sequence[JobRecord], selection: Selection, summary: Summary
) -> list[JobRecord]:
    """Reserve jobs, and return those that are reserved in a state that the selection allows.

    The others are given back. What becomes of them is counted, also if the connection is lost.
    """
    try:
        claims = await claim(bulk, records)
        ours = [each for each in claims if each.unchanged and selection.matches_stats(each.before)]
        others = [each for each in claims if each not in ours]
        await give_back(bulk, others)
    except (ConnectionLost, UnexpectedResponse):
        summary.unknown += len(records)  # they may be ready now
        raise
    summary.vanished += len(records) - len(claims)
    summary.skip(CHANGED, len(others))
    return [each.before for each in ours]


async def give_back(bulk: Bulk, claims: Sequence[Claim]) -> None:
    """Return claimed jobs to the state that they were reserved in, with their priority."""
    for command, payloads in _returns(claims):
        raise_lost(await bulk.send(command, payloads))
    for each in claims:
        bulk.jobs.discard(each.after.id)


def _returns(claims: Sequence[Claim]) -> list[tuple[Command, list[bytes]]]:
    buries, releases = [], []
    for each in claims:
        state, delay = each.previous
        job_id, priority = each.after.id, each.after.priority
        if state == "buried":
            buries.append(BURY.encode(job_id, priority))
        else:
            releases.append(RELEASE.encode(job_id, priority, delay))
    both: list[tuple[Command, list[Any]]] = [(BURY, buries), (RELEASE, releases)]
    return [(command, payloads) for command, payloads in both if payloads]
