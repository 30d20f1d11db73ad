"""Progress, interrupts and summaries."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections import Counter
from contextlib import suppress

import pytest

from beanstalkt import ConnectionLost
from beanstalkt.admin import OnProgress, Progress, Summary
from beanstalkt.cli.progress import (
    carry_out,
    end_at_once,
    interruptible,
    lines,
    report,
    shown_progress,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress() as progress:
        assert progress is None
    assert capsys.readouterr().err == ""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with shown_progress() as progress:
        assert progress is not None
        progress(Progress("ids looked at", 500, 2000, 1.0, jobs=1234))
    assert "ids looked at" in screen.getvalue()
    assert "25%" in screen.getvalue()
    assert "1,234 jobs" in screen.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_body_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def body() -> None:
        try:
            with interruptible():
                os.kill(os.getpid(), number)
                await asyncio.sleep(10)
        finally:  # as if it had not been cancelled, for a later Ctrl-C
            assert getattr(asyncio.current_task(), "cancelling", int)() == 0

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(body())
    assert signal.getsignal(number) == before


def test_a_summary_says_what_was_done_and_what_was_not() -> None:
    summary = Summary(
        "deleted", done=1200, vanished=3, unknown=2, looked_at=9, range=(1, 5000), limited=True
    )
    summary.states = Counter(ready=1000, buried=200)
    summary.skipped["reserved by a worker"] = 4
    summary.fail(17, "INTERNAL_ERROR")
    assert list(lines(summary)) == [
        "deleted 1,200 jobs (1,000 ready, 200 buried)",
        "stopped at the limit: there may be more",
        "3 were gone, or taken by a worker, before their turn",
        "left 4 alone: reserved by a worker",
        "of 2 more it is not known whether they were deleted: the connection was lost before the "
        "reply",
        "job 17: INTERNAL_ERROR",
        "looked at the ids 1 to 5,000; jobs put since are not among them",
    ]


def test_a_dry_run_and_an_interrupt_are_told_first() -> None:
    told = lines(Summary("deleted", done=1, dry_run=True))
    assert next(told) == "would have deleted 1 job; nothing was changed"
    told = lines(Summary("deleted", done=2, interrupted=True))
    assert next(told) == "interrupted: deleted 2 jobs, and left the rest as it was"


def test_of_many_failures_some_are_told() -> None:
    summary = Summary("deleted")
    for job_id in range(150):
        summary.fail(job_id, "no")
    told = list(lines(summary))
    assert told[1:] == ["jobs 0-99: no", "50 more failed"]
    summary = Summary("imported", noun="line", failed=3, failures=[(9, "no"), (4, "a"), (3, "no")])
    assert list(lines(summary))[1:] == ["lines 3, 9: no", "line 4: a"]


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        (Summary(done=5), 0),
        (Summary(done=5, vanished=1), 0),
        (Summary(failed=1), 1),
        (Summary(unknown=1), 1),
        (Summary(interrupted=True), 130),
    ],
)
def test_the_exit_status_tells(
    summary: Summary, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(summary) == status
    assert capsys.readouterr().out == f"{summary.done}\n"


async def test_the_second_signal_ends_the_program_though_no_answer_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = asyncio.Event()
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        answered.set()

    async def waits_for_an_answer(summary: Summary, _: OnProgress | None) -> None:
        summary.action, summary.done = "moved", 7
        os.kill(os.getpid(), signal.SIGINT)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        while "another Ctrl-C" not in (told := capsys.readouterr().err):
            assert told == ""
            await asyncio.sleep(0.01)
        assert statuses == []
        os.kill(os.getpid(), signal.SIGINT)
        await answered.wait()
        raise asyncio.CancelledError

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr("beanstalkt.cli.progress.SLOW", 0.01)
    assert await asyncio.wait_for(carry_out(waits_for_an_answer), 20) == 130
    assert statuses == [130]
    out, err = capsys.readouterr()
    assert out.startswith("7\n")
    assert err.startswith("beanstalkt: ended at once: moved 7 jobs; some more may have been")


async def test_the_second_signal_is_heard_though_the_loop_is_blocked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)

    async def blocks(summary: Summary, _: OnProgress | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert statuses == [130]

    await asyncio.wait_for(carry_out(blocks, counts=False), 20)
    assert "ended at once: not all" in capsys.readouterr().err


async def test_what_was_done_is_told_also_after_an_interrupt_or_a_loss(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def interrupted(summary: Summary, _: OnProgress | None) -> None:
        summary.done = 7
        raise asyncio.CancelledError

    async def lost(summary: Summary, _: OnProgress | None) -> None:
        summary.done = 8
        raise ConnectionLost("gone")

    assert await carry_out(interrupted) == 130
    assert capsys.readouterr().out == "7\n"
    with pytest.raises(ConnectionLost):
        await carry_out(lost)
    assert capsys.readouterr().out == "8\n"


def of_several() -> Summary:
    own = {
        "a": Summary(action="moved", done=3, states=Counter(ready=3), range=(1, 9)),
        "b": Summary(action="moved", done=2, interrupted=True),
    }
    for job_id in (4, 5, 7):
        own["a"].fail(job_id, "too big")
    return Summary(action="moved", servers=own)


def test_a_summary_of_several_servers_tells_of_each() -> None:
    summary = of_several()
    summary.add_up()
    assert summary.failures == [("a/4", "too big"), ("a/5", "too big"), ("a/7", "too big")]
    assert list(lines(summary)) == [
        "interrupted: moved 5 jobs (3 ready), and left the rest as it was",
        "a: moved 3 jobs (3 ready)",
        "a: jobs a/4-5, a/7: too big",
        "a: looked at the ids 1 to 9; jobs put since are not among them",
        "b: interrupted: moved 2 jobs, and left the rest as it was",
    ]


def test_ended_at_once_it_tells_what_was_done_on_each_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os._exit", lambda status: None)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        end_at_once(of_several(), counts=True)
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    out, err = capsys.readouterr()
    assert out == "5\n"
    assert "ended at once: moved 5 jobs" in err
    assert "a: moved 3 jobs (3 ready)\n" in err
    assert "b: moved 2 jobs\n" in err
