"""The events of a runner in the log: one line for each job, and what is said of the runner."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from beanstalkt.errors import InternalError, UnexpectedResponse, UnknownCommand
from beanstalkt.worker import events as module
from beanstalkt.worker.events import (
    Event,
    HandlerNotClosed,
    HandlerUnavailable,
    HistoryDropped,
    JobFinished,
    JobNotSettled,
    JobNotTakenBack,
    JobNotTouched,
    JobOutput,
    JobStarted,
    JobTakenBack,
    LoopBlocked,
    ReloadFailed,
    ReloadFinished,
    ReloadRefused,
    ReloadStarted,
    RunnerPaused,
    RunnerReady,
    RunnerResumed,
    RunnerStopped,
    RunnerStopping,
    SlotReconnected,
    SlotRestarted,
    TubeRetired,
    TubeScanFailed,
    TubeStarted,
)
from beanstalkt.worker.log.lines import JSONFormatter, LogEntry
from beanstalkt.worker.log.observer import LogObserver
from beanstalkt.worker.log.progress import Progress
from beanstalkt.worker.policy.decision import DELETE, Action, SettleResult, Verb
from beanstalkt.worker.policy.outcome import Kind

SERVER = "beanstalk://x"
JOB = (SERVER, "mail", 7)


def finished(**changes: Any) -> JobFinished:
    values: dict[str, Any] = {
        "attempt": 2,
        "outcome": Kind.SUCCESS,
        "action": DELETE,
        "settled": SettleResult.DONE,
        "seconds": 0.12345,
        "error": "",
        "details": {},
        **changes,
    }
    return JobFinished(*JOB, **values)


class Records(logging.Handler):
    """What is logged, as level and text."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def say(self, event: Event) -> list[str]:
        """Log an event; the lines of it."""
        self.records.clear()
        observer = LogObserver()
        if type(event) in observer.events:
            observer(event)
        return [f"{record.levelname} {record.getMessage()}" for record in self.records]


@pytest.fixture
def records() -> Iterator[Records]:
    log = logging.getLogger("beanstalkt.worker")
    handler, level = Records(), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


START = "tube=mail id=7"
END = "attempt=2 server=beanstalk://x"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (finished(), f"INFO job {START} outcome=success action=delete seconds=0.123 {END}"),
        (
            finished(
                outcome=Kind.PERMANENT_FAIL,
                action=Action(Verb.RELEASE, 60),
                error="no user",
                details={"exit": 1},
            ),
            f"WARNING job {START} outcome=permanent-fail action=release:60 seconds=0.123 {END} "
            'exit=1 error="no user"',
        ),
        (
            finished(settled=SettleResult.PRESUMED),
            f"INFO job {START} outcome=success action=delete seconds=0.123 {END} answer=lost",
        ),
        (
            finished(outcome=Kind.LOST, action=None, settled=SettleResult.LOST),
            f"WARNING job {START} outcome=lost action=none seconds=0.123 {END}",
        ),
        (
            finished(settled=SettleResult.LOST, outcome=Kind.LOST),
            f"WARNING job {START} outcome=lost action=none seconds=0.123 {END}",
        ),
        (
            finished(settled=SettleResult.BURIED),
            f'INFO job {START} outcome=success action="buried by the server" seconds=0.123 {END}',
        ),
        (
            finished(settled=SettleResult.REFUSED),
            f"INFO job {START} outcome=success action=refused seconds=0.123 {END}",
        ),
        (JobOutput(*JOB, "stdout", "7 Grüße"), f"INFO output {START} stdout: 7 Grüße"),
        (JobOutput(*JOB, "stderr", ""), f"INFO output {START} stderr: "),
        (
            # It must neither begin another line nor control a terminal.
            JobOutput(*JOB, "stdout", "a\tb\r\x1b[2J\x7f\x9b\u2028\u202e"),
            f"INFO output {START} stdout: a\tb\\r\\u001b[2J\\u007f\\u009b\\u2028\\u202e",
        ),
        (JobTakenBack(*JOB), f"INFO taken-back {START} server=beanstalk://x"),
        (
            JobNotTakenBack(*JOB, UnknownCommand("?")),
            "WARNING beanstalk://x cannot give a job back to its worker: it is too old (before "
            "1.12)",
        ),
        (
            JobNotTakenBack(*JOB, InternalError("full")),
            "ERROR job 7 of beanstalk://x: cannot take it back: full",
        ),
        (
            JobNotTouched(*JOB, InternalError("full")),
            "WARNING job 7 of beanstalk://x: cannot touch it: full",
        ),
        (
            JobNotSettled(*JOB, InternalError("full")),
            "ERROR job 7 of beanstalk://x is out of reach until the server's restart: full",
        ),
        (
            HistoryDropped(12, ""),
            'WARNING history-dropped events=12 reason="the database is too slow"',
        ),
        (
            LoopBlocked(*JOB, "function app.send", 2.71828, 3),
            f'WARNING blocked {START} handler="function app.send" seconds=2.718 ttr=3 '
            'server=beanstalk://x advice="no other job could run or be kept reserved meanwhile; '
            'call what blocks with await asyncio.to_thread(...)"',
        ),
        (RunnerReady(SERVER, 2, 8), "INFO ready server=beanstalk://x tubes=2 slots=8"),
        (RunnerPaused(3), "INFO paused running=3"),
        (RunnerResumed(), "INFO resumed"),
        (RunnerStopping("draining", 1), "INFO stopping how=draining running=1"),
        (ReloadFinished(3), "INFO reloaded tubes=3"),
        (ReloadRefused(), "WARNING there is no configuration file to read again"),
        (
            TubeStarted(SERVER, "mail", 4, "command cat", {"timeout": "ttr"}),
            'INFO tube tube=mail workers=4 handler="command cat" timeout=ttr',
        ),
        (
            TubeScanFailed(SERVER, InternalError("full")),
            "DEBUG beanstalk://x does not list its tubes: full",
        ),
        (TubeScanFailed(SERVER, ValueError("x")), "ERROR beanstalk://x: cannot list the tubes"),
        (HandlerUnavailable(SERVER, "mail", ValueError("gone")), "ERROR tube mail: gone"),
        (
            SlotRestarted(SERVER, "mail", 2, KeyError("x"), 0.5),
            "ERROR tube mail, slot 2: it has ended by KeyError, and is started again in 0.5 s",
        ),
        (
            SlotRestarted(SERVER, "mail", 2, UnexpectedResponse("not b'USING'"), 0.5),
            "ERROR tube mail, slot 2: beanstalk://x: not b'USING'; trying again in 0.5 s",
        ),
        (
            SlotRestarted(SERVER, "mail", 2, InternalError("full"), 0.5),
            "ERROR tube mail, slot 2: beanstalk://x: full; trying again in 0.5 s",
        ),
        (
            HandlerNotClosed("mail", ValueError("x")),
            "ERROR tube mail: its handler could not be closed",
        ),
    ],
)
def test_the_line_of_an_event(records: Records, event: Event, line: str) -> None:
    assert records.say(event) == [line]


def test_every_problem_of_a_configuration_has_a_line(records: Records) -> None:
    wrong = ReloadFailed(("a:1: bad", "a:2: worse"), "the configuration is wrong")
    assert records.say(wrong) == [
        "ERROR a:1: bad",
        "ERROR a:2: worse",
        "ERROR the configuration is wrong; the old one is kept",
    ]
    assert records.say(ReloadFailed((), "tube a: no command")) == [
        "ERROR tube a: no command; the old configuration is kept"
    ]


@pytest.mark.parametrize(
    "event",
    [
        SlotRestarted(SERVER, "mail", 2, KeyError("x"), 0.5),
        HandlerNotClosed("mail", ValueError("x")),
        TubeScanFailed(SERVER, ValueError("x")),
    ],
)
def test_a_defect_is_logged_with_its_traceback(records: Records, event: Any) -> None:
    records.say(event)
    exc_info = records.records[0].exc_info
    assert exc_info is not None
    assert exc_info[1] is event.error


@pytest.mark.parametrize(
    "event",
    [
        JobStarted(*JOB, 1, 1),
        ReloadStarted(),
        RunnerStopped(0),
        SlotReconnected(SERVER, "mail", 1),
        TubeRetired(SERVER, "mail"),
    ],
)
def test_what_would_only_fill_the_log_has_no_line(records: Records, event: Event) -> None:
    assert records.say(event) == []


def test_each_kind_of_event_is_tested_here() -> None:
    kinds = {
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Event)
    } - {Event, module.JobEvent}
    unlogged = {JobStarted, ReloadStarted, RunnerStopped, SlotReconnected, TubeRetired}
    assert kinds == LogObserver().events | unlogged


def test_a_failure_that_was_swallowed_is_a_warning_of_its_own(records: Records) -> None:
    event = finished(error="no user", details={"swallowed": "unknown-fail"})
    where = "tube=mail id=7 server=beanstalk://x"
    line = f'WARNING swallowed {where} swallowed=unknown-fail error="no user"'
    assert records.say(event)[0] == line
    # Also where the lines of jobs that succeeded are left out.
    logging.getLogger("beanstalkt.worker").setLevel(logging.WARNING)
    assert records.say(event) == [line]


def test_a_job_is_not_formatted_when_its_level_is_off(records: Records) -> None:
    logging.getLogger("beanstalkt.worker").setLevel(logging.WARNING)
    assert records.say(finished()) == []
    assert len(records.say(finished(outcome=Kind.TIMEOUT))) == 1
    assert isinstance(records.records[0].msg, LogEntry)


def test_a_line_of_output_is_an_object_of_its_own_in_json(records: Records) -> None:
    records.say(JobOutput(*JOB, "stdout", "7 Grüße\r"))
    line = json.loads(JSONFormatter().format(records.records[0]))
    del line["time"]
    assert line == {
        "level": "info",
        "event": "output",
        "tube": "mail",
        "id": 7,
        "stream": "stdout",
        "line": "7 Grüße\r",
        "server": SERVER,
    }


def test_progress_shows_output_that_was_asked_for(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    records.say(JobOutput(*JOB, "stdout", "seven"))
    records.say(finished())
    progress = Progress()
    records.say(JobOutput(*JOB, "stdout", "seven"))
    progress.emit(records.records[0])
    records.say(finished())
    progress.emit(records.records[0])
    shown = capsys.readouterr().err
    assert "stdout: seven\n" in shown
    assert "outcome" not in shown


def test_progress_counts_the_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    assert progress.events == {JobFinished}
    progress(finished())
    progress(finished(outcome=Kind.TIMEOUT))
    progress(RunnerResumed())
    progress.finish()
    last = capsys.readouterr().err.split("\r")[-1]
    assert "2 jobs, 1 failed" in last
