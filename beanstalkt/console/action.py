"""One action: something that is done to the jobs of a filter, with its progress and its result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from ..admin import Progress, Summary

State = Literal["running", "done", "cancelled", "failed"]

SHOWN_FAILURES = 10
"""Jobs of which it is told one by one why the server refused."""


@dataclass
class Action:
    """Hold what is known of an action.

    :ivar verb: what is done, such as ``delete``
    :ivar target: in words, with what: the filter, the tube
    :ivar who: who asked for it
    :ivar dry_run: whether it only counts
    :ivar started: in seconds since 1970
    :ivar result: in words; empty as long as there is none
    """

    id: int
    verb: str
    server: str
    target: dict[str, Any]
    options: dict[str, Any]
    who: str
    dry_run: bool = False
    started: float = field(default_factory=time.time)
    ended: float | None = None
    state: State = "running"
    progress: Progress | None = None
    summary: Summary = field(default_factory=Summary)
    result: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the action as the page shows it."""
        return {**self.as_entry(), "id": self.id, "progress": _progress(self.progress)}

    def as_entry(self) -> dict[str, Any]:
        """Return the action as the log of actions keeps it."""
        return {
            "verb": self.verb,
            "server": self.server,
            "filter": self.target,
            "options": self.options,
            "who": self.who,
            "dry_run": self.dry_run,
            "started": self.started,
            "ended": self.ended,
            "state": self.state,
            "result": self.result,
            "summary": _summary(self.summary),
        }


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "what": progress.what,
        "done": progress.done,
        "total": progress.total,
        "estimated": progress.estimated,
        "jobs": progress.jobs,
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "action": summary.action,
        "done": summary.done,
        "skipped": dict(summary.skipped),
        "vanished": summary.vanished,
        "failed": summary.failed,
        "failures": summary.failures[:SHOWN_FAILURES],
        "unknown": summary.unknown,
        "states": dict(summary.states),
        "tubes": len(summary.tubes),
    }
