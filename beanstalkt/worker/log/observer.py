"""Log the events of a runner: one line for each job, and lines about the runner itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...errors import BeanstalkException, CommandFailed, UnexpectedResponse, UnknownCommand
from ..events import (
    Event,
    HandlerNotClosed,
    HandlerUnavailable,
    HistoryDropped,
    JobFinished,
    JobNotSettled,
    JobNotTakenBack,
    JobNotTouched,
    JobOutput,
    JobTakenBack,
    LoopBlocked,
    ReloadFailed,
    ReloadFinished,
    ReloadRefused,
    RunnerPaused,
    RunnerReady,
    RunnerResumed,
    RunnerStarting,
    RunnerStopping,
    SlotRestarted,
    TubeScanFailed,
    TubeStarted,
)
from ..policy.decision import SettleResult
from ..policy.outcome import Kind
from .lines import OutputEntry, log, log_entry


class LogObserver:
    """Log the events of a runner."""

    def __init__(self) -> None:
        self.events = frozenset(_WRITERS)

    def __call__(self, event: Event) -> None:
        """Log an event."""
        _WRITERS[type(event)](event)


def _job_finished(event: JobFinished) -> None:
    if "swallowed" in event.details:
        # A failure that the configuration turned into a success must not pass unseen.
        fields: dict[str, object] = {"tube": event.tube, "id": event.id, "server": event.server}
        log_entry("swallowed", {**fields, **event.details, "error": event.error}, logging.WARNING)
    level = logging.INFO if event.outcome is Kind.SUCCESS else logging.WARNING
    if not log.isEnabledFor(level):
        return
    fields = {
        "tube": event.tube,
        "id": event.id,
        "outcome": event.outcome.value,
        "action": _action(event),
        "seconds": round(event.seconds, 3),
        "attempt": event.attempt,
        "server": event.server,
        **event.details,
    }
    if event.settled is SettleResult.PRESUMED:
        fields["answer"] = "lost"
    if event.error:
        fields["error"] = event.error
    log_entry("job", fields, level)


def _action(event: JobFinished) -> str:
    if event.settled in (SettleResult.DONE, SettleResult.PRESUMED) and event.action is not None:
        return str(event.action)
    return "none" if event.settled is SettleResult.LOST else event.settled.value


def _job_output(event: JobOutput) -> None:
    fields = {
        "tube": event.tube,
        "id": event.id,
        "stream": event.stream,
        "line": event.line,
        "server": event.server,
    }
    log_entry("output", fields, kind=OutputEntry)


def _job_taken_back(event: JobTakenBack) -> None:
    log_entry("taken-back", {"tube": event.tube, "id": event.id, "server": event.server})


def _job_not_taken_back(event: JobNotTakenBack) -> None:
    if isinstance(event.error, UnknownCommand):
        log.warning(
            "%s cannot give a job back to its worker: it is too old (before 1.12)", event.server
        )
    else:
        log.error("job %d of %s: cannot take it back: %s", event.id, event.server, event.error)


def _job_not_touched(event: JobNotTouched) -> None:
    log.warning("job %d of %s: cannot touch it: %s", event.id, event.server, event.error)


def _job_not_settled(event: JobNotSettled) -> None:
    log.error(
        "job %d of %s is out of reach until the server's restart: %s",
        event.id,
        event.server,
        event.error,
    )


def _loop_blocked(event: LoopBlocked) -> None:
    fields = {
        "tube": event.tube,
        "id": event.id,
        "handler": event.handler,
        "seconds": round(event.seconds, 3),
        "ttr": event.ttr,
        "server": event.server,
        "advice": "no other job could run or be kept reserved meanwhile; call what blocks with "
        "await asyncio.to_thread(...)",
    }
    log_entry("blocked", fields, logging.WARNING)


def _history_dropped(event: HistoryDropped) -> None:
    reason = event.reason or "the database is too slow"
    log_entry("history-dropped", {"events": event.count, "reason": reason}, logging.WARNING)


def _runner_starting(event: RunnerStarting) -> None:
    fields = {"server": event.server}
    if event.server_place:
        fields["from"] = event.server_place
    log_entry("starting", fields)


def _runner_ready(event: RunnerReady) -> None:
    log_entry("ready", {"server": event.server, "tubes": event.tubes, "slots": event.slots})


def _runner_stopping(event: RunnerStopping) -> None:
    log_entry("stopping", {"how": event.how, "running": event.running})


def _tube_started(event: TubeStarted) -> None:
    fields = {"tube": event.tube, "workers": event.workers, "handler": event.handler}
    if len(event.servers) > 1:
        fields["servers"] = event.server
    log_entry("tube", {**fields, **event.policy})


def _reload_failed(event: ReloadFailed) -> None:
    for problem in event.problems:
        log.error("%s", problem)
    kept = "the old one is kept" if event.problems else "the old configuration is kept"
    log.error("%s; %s", event.reason, kept)


def _tube_scan_failed(event: TubeScanFailed) -> None:
    if isinstance(event.error, BeanstalkException):
        log.debug("%s does not list its tubes: %s", event.server, event.error)
    else:
        log.error("%s: cannot list the tubes", event.server, exc_info=event.error)


def _slot_restarted(event: SlotRestarted) -> None:
    if isinstance(event.error, (CommandFailed, UnexpectedResponse)):
        # It is the server's doing, or what answers is none: where it came up tells nothing.
        log.error(
            "tube %s, slot %d: %s: %s; trying again in %g s",
            event.tube,
            event.slot,
            event.server,
            event.error,
            event.delay,
        )
        return
    log.error(
        "tube %s, slot %d: it has ended by %s, and is started again in %g s",
        event.tube,
        event.slot,
        type(event.error).__qualname__,
        event.delay,
        exc_info=event.error,
    )


def _handler_not_closed(event: HandlerNotClosed) -> None:
    log.error("tube %s: its handler could not be closed", event.tube, exc_info=event.error)


_WRITERS: dict[type[Event], Callable[[Any], None]] = {
    JobFinished: _job_finished,
    JobOutput: _job_output,
    JobTakenBack: _job_taken_back,
    JobNotTakenBack: _job_not_taken_back,
    JobNotTouched: _job_not_touched,
    JobNotSettled: _job_not_settled,
    LoopBlocked: _loop_blocked,
    HistoryDropped: _history_dropped,
    RunnerStarting: _runner_starting,
    RunnerReady: _runner_ready,
    RunnerPaused: lambda event: log_entry("paused", {"running": event.running}),
    RunnerResumed: lambda event: log_entry("resumed", {}),
    RunnerStopping: _runner_stopping,
    ReloadFinished: lambda event: log_entry("reloaded", {"tubes": event.tubes}),
    ReloadFailed: _reload_failed,
    ReloadRefused: lambda event: log.warning("there is no configuration file to read again"),
    TubeStarted: _tube_started,
    TubeScanFailed: _tube_scan_failed,
    SlotRestarted: _slot_restarted,
    HandlerUnavailable: lambda event: log.error("tube %s: %s", event.tube, event.error),
    HandlerNotClosed: _handler_not_closed,
}
