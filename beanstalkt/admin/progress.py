"""Progress and summary: how far an operation on many jobs has come, and what it has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..errors import InvalidArgument

OnError = Literal["stop", "skip"]
"""What to do after a job was refused: stop, or go on with the others."""


def check_on_error(on_error: object) -> None:
    """Check that this is what an operation does after a refusal; raise InvalidArgument."""
    if on_error not in get_args(OnError):
        raise InvalidArgument(f"on_error must be 'stop' or 'skip', not {on_error!r}")


KEPT_FAILURES = 100
"""How many failures a summary describes one by one. All of them are counted."""


@dataclass(frozen=True)
class Progress:
    """Tell how far an operation has come."""

    #: what is counted, such as "ids looked at" or "jobs deleted"
    what: str
    done: int
    #: how many there are; None: that is not known
    total: int | None
    #: since the operation began
    seconds: float
    #: how many jobs the operation has found or changed
    jobs: int = 0
    #: whether the total is an estimate, which later progress may correct
    estimated: bool = False

    @property
    def seconds_left(self) -> float | None:
        """An estimate of the time to the end; None where there is none."""
        if self.total is None or not self.done or not self.seconds:
            return None
        return max(0.0, (self.total - self.done) * self.seconds / self.done)


OnProgress = Callable[[Progress], None]
"""Get the progress of an operation, some times a second at the most often."""


@dataclass
class Summary:
    """Tell what an operation has done, also if it did not come to its end."""

    #: what was done, in the past: "deleted", "kicked", ...
    action: str = "done"
    #: jobs on which it was carried out, or would have been in a dry run
    done: int = 0
    #: jobs that were left alone, by the reason
    skipped: Counter[str] = field(default_factory=Counter)
    #: jobs that were gone, or in the hands of a worker, when their turn came
    vanished: int = 0
    #: jobs for which the server refused it
    failed: int = 0
    #: the first of them: the id, or the number of the line, and the reason; with several servers,
    #: the id is a str such as ``"a/17"``
    failures: list[tuple[int | str, str]] = field(default_factory=list)
    #: jobs of which it is not known, because the connection was lost
    unknown: int = 0
    #: what the numbers of the failures are those of: a job, or a line
    noun: str = "job"
    #: what else is to be known, in sentences
    notes: list[str] = field(default_factory=list)
    #: nothing was changed; `done` counts what would have been
    dry_run: bool = False
    #: it was cancelled between two jobs
    interrupted: bool = False
    #: it ended at the limit that was given
    limited: bool = False
    #: how many of the jobs that were done had each state when they were found
    states: Counter[str] = field(default_factory=Counter)
    #: how many of the jobs that were done were in each tube
    tubes: Counter[str] = field(default_factory=Counter)
    #: the first and the last id that were looked at; None where no ids were
    range: tuple[int, int] | None = None
    #: how many ids were looked at
    looked_at: int = 0
    #: seconds
    seconds: float = 0.0
    #: what was done on each of several servers, by its name; empty if there was but one. Their
    #: notes and ranges are in there alone
    servers: dict[str, Summary] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Return whether nothing failed, nothing is unknown, and it was not interrupted."""
        return not (self.failed or self.unknown or self.interrupted)

    def skip(self, reason: str, number: int = 1) -> None:
        """Count jobs that are left alone."""
        if number:
            self.skipped[reason] += number

    def add_up(self) -> None:
        """Set the counts to the sums of those of several servers; with one, do nothing."""
        each = self.servers.values()
        if not each:
            return
        for name in _SUMS:
            setattr(self, name, sum(getattr(own, name) for own in each))
        for name in _COUNTERS:
            setattr(self, name, sum((getattr(own, name) for own in each), Counter()))
        for name in _FLAGS:
            setattr(self, name, any(getattr(own, name) for own in each))
        self.seconds = max(own.seconds for own in each)
        self.failures = [
            (failed if self.noun == "line" else f"{name}/{failed}", reason)
            for name, own in self.servers.items()
            for failed, reason in own.failures
        ][:KEPT_FAILURES]

    def fail(self, job_id: int, reason: str) -> None:
        """Count a job for which the server refused it."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append((job_id, reason))


_SUMS = ("done", "vanished", "failed", "unknown", "looked_at")
_COUNTERS = ("skipped", "states", "tubes")
_FLAGS = ("dry_run", "interrupted", "limited")
