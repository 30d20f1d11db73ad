"""The command handler, without a server: what it runs, and that it always ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.events import Event, JobOutput
from beanstalkt.worker.handlers.base import CannotStart
from beanstalkt.worker.handlers.command.handler import (
    CommandHandler,
    outcome_of_status,
    split_command,
)
from beanstalkt.worker.policy.outcome import SUCCESS, Kind, Outcome
from beanstalkt.worker.process.captured_output import CapturedOutput
from beanstalkt.worker.process.child_watcher import ChildWatcher
from beanstalkt.worker.process.command_process import CommandProcess

from ....support.commands import python, shell
from ....support.leftovers import descriptors
from ....support.processes import no_child_left, until_gone, until_written
from ....support.work import make_work

WHERE = "beanstalk://localhost:11300"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor and no child may be left by any test."""
    before = len(descriptors())
    yield
    assert len(descriptors()) <= before
    no_child_left()


# --- exit statuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind", "exit_code"),
    [
        ("exit 0", Kind.SUCCESS, None),
        ("exit 1", Kind.PERMANENT_FAIL, 1),
        ("exit 2", Kind.TEMPORARY_FAIL, 2),
        ("exit 3", Kind.UNKNOWN_FAIL, 3),
        ("exit 255", Kind.UNKNOWN_FAIL, 255),
        ("kill -9 $$", Kind.UNKNOWN_FAIL, -9),
        ("kill -TERM $$", Kind.UNKNOWN_FAIL, -15),
    ],
)
async def test_the_exit_status_decides(script: str, kind: Kind, exit_code: int | None) -> None:
    outcome = await shell(script).run(make_work())
    assert (outcome.kind, outcome.exit_code) == (kind, exit_code)


async def test_a_failure_carries_the_end_of_stderr() -> None:
    outcome = await shell("echo out; echo no such user >&2; exit 1").run(make_work())
    assert outcome.error == "no such user"
    assert outcome.details == {
        "exception": "UnclassifiedRunnerError",
        "exit": 1,
        "stdout_bytes": 4,
        "stderr_bytes": 13,
    }


async def test_a_signal_is_named() -> None:
    outcome = await shell("kill -9 $$").run(make_work())
    assert outcome.details["signal"] == "SIGKILL"
    assert outcome_of_status(-40, CapturedOutput(), CapturedOutput()).details["signal"] == "40"


def test_a_status_that_somebody_else_took_is_no_success() -> None:
    outcome = outcome_of_status(None, CapturedOutput(), CapturedOutput())
    assert outcome.kind is Kind.UNKNOWN_FAIL


async def test_children_that_are_reaped_by_themselves_are_no_successes() -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        outcome = await shell("exit 0").run(make_work())
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert outcome.kind is Kind.UNKNOWN_FAIL


# --- what it writes, shown -------------------------------------------------------------------


def shown(script: str) -> tuple[CommandHandler, list[Event]]:
    """A handler that shows the output of its script, and where its events go."""
    handler = CommandHandler(["/bin/sh", "-c", script], show_output=True)
    events: list[Event] = []
    handler.publish_event = events.append
    return handler, events


async def test_each_line_of_both_streams_is_shown() -> None:
    handler, events = shown("printf 'one\\r\\ntw'; echo wrong >&2; sleep 0.05; printf 'o'; exit 1")
    outcome = await handler.run(make_work())
    lines = [event for event in events if isinstance(event, JobOutput)]
    assert len(lines) == len(events) == 3
    assert all((each.tube, each.id, each.server) == ("mail", 7, WHERE) for each in lines)
    told = [(each.stream, each.line) for each in lines]
    assert sorted(told) == [("stderr", "wrong"), ("stdout", "one"), ("stdout", "two")]
    # What a failure keeps stays the same.
    assert outcome.error == "wrong"
    assert outcome.details["stdout_bytes"] == 8


async def test_all_of_a_long_output_is_shown() -> None:
    handler, events = shown("seq 1 20000; seq 1 20000 >&2")
    assert await handler.run(make_work()) == SUCCESS
    for stream in ("stdout", "stderr"):
        lines = [
            each.line for each in events if isinstance(each, JobOutput) and each.stream == stream
        ]
        assert lines == [str(number) for number in range(1, 20001)]


async def test_what_a_stopped_command_has_written_is_shown() -> None:
    handler, events = shown("printf begun; sleep 100")
    task = asyncio.ensure_future(handler.run(make_work(kill_grace=0.1)))
    await asyncio.sleep(0.3)
    task.cancel()
    assert (await task).kind is Kind.UNKNOWN_FAIL
    assert [each.line for each in events if isinstance(each, JobOutput)] == ["begun"]


async def test_nothing_is_shown_unless_asked_for() -> None:
    handler = shell("echo one; echo two >&2")
    events: list[Event] = []
    handler.publish_event = events.append
    await handler.run(make_work())
    assert not events


# --- what the command gets -------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", bytes(range(256)) * 10, b"x" * 65536, b"x" * 65537, os.urandom(1_000_000)],
    ids=["empty", "NUL", "every byte", "a pipeful", "a pipeful and one", "1 MB"],
)
async def test_the_body_is_the_standard_input(body: bytes, tmp_path: Path) -> None:
    handler = shell(f"cat >{tmp_path}/body")
    outcome = await handler.run(make_work(body))
    assert outcome.kind is Kind.SUCCESS
    assert (tmp_path / "body").read_bytes() == body


async def test_nothing_of_the_body_gets_elsewhere(tmp_path: Path) -> None:
    handler = shell(f"cat /proc/self/environ /proc/$$/cmdline >{tmp_path}/seen")
    await handler.run(make_work(b"SECRET; touch /tmp/x"))
    assert b"SECRET" not in (tmp_path / "seen").read_bytes()


async def test_the_environment_says_what_the_job_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKT_TIMEOUT", "30")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("KEPT", "yes")
    await shell(f"env >{tmp_path}/env").run(make_work(max_attempts=4, outbox_id=12, slot=3))
    lines = (tmp_path / "env").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines if line.startswith("BEANSTALKT_"))
    assert seen == {
        "BEANSTALKT_JOB_ID": "7",
        "BEANSTALKT_TUBE": "mail",
        "BEANSTALKT_PRIORITY": "1024",
        "BEANSTALKT_TTR": "60",
        "BEANSTALKT_TIME_LEFT": "59",
        "BEANSTALKT_AGE": "3",
        "BEANSTALKT_RESERVES": "2",
        "BEANSTALKT_TIMEOUTS": "1",
        "BEANSTALKT_RELEASES": "0",
        "BEANSTALKT_BURIES": "0",
        "BEANSTALKT_KICKS": "0",
        "BEANSTALKT_ATTEMPT": "2",
        "BEANSTALKT_MAX_ATTEMPTS": "4",
        "BEANSTALKT_SERVER": "beanstalk://localhost:11300",
        "BEANSTALKT_SLOT": "3",
        "BEANSTALKT_OUTBOX_ID": "12",
    }
    assert "KEPT=yes" in lines
    assert not any(line.startswith("NOTIFY_SOCKET") for line in lines)


async def test_the_tube_is_passed_only_when_asked_for(tmp_path: Path) -> None:
    script = f'echo "$#:$1" >>{tmp_path}/seen'
    argv = ["/bin/sh", "-c", script, "sh"]
    await CommandHandler(argv).run(make_work())
    await CommandHandler(argv, pass_tube=True).run(make_work())
    assert (tmp_path / "seen").read_text() == "0:\n1:mail\n"


async def test_it_has_its_own_session_and_no_descriptor_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        handler = python(
            "import os, sys; fds = os.listdir('/proc/self/fd')\n"
            f"open({str(tmp_path / 'seen')!r}, 'w').write("
            "f'{os.getsid(0) == os.getpgid(0) == os.getpid()} {sorted(map(int, fds))[:-1]}')"
        )
        await handler.run(make_work())
    assert (tmp_path / "seen").read_text() == "True [0, 1, 2]"


async def test_a_descriptor_above_the_limit_keeps_no_command_from_starting() -> None:
    """As when a shell with many open files has lowered ``ulimit -n``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = fcntl.fcntl(0, fcntl.F_DUPFD, 900)
    resource.setrlimit(resource.RLIMIT_NOFILE, (800, hard))
    try:
        os.set_inheritable(high, True)
        outcome = await shell(f"test ! -e /proc/self/fd/{high}").run(make_work())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(high)
    assert outcome == SUCCESS


def test_a_runner_without_standard_streams_can_start_commands(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from beanstalkt.worker.process.child_watcher import ChildWatcher
from beanstalkt.worker.process.command_process import CommandProcess

async def run() -> None:
    command = ["/bin/sh", "-c", "cat; echo error >&2"]
    process = CommandProcess(command, b"body", os.environb, ChildWatcher())
    status = await process.wait()
    with open(sys.argv[1], "wb") as seen:
        seen.write(b"%d %s %s" % (status, process.stdout.kept(), process.stderr.kept()))

asyncio.run(run())
"""
    run = f'exec "{sys.executable}" -c "$0" "$1" <&- >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", run, program, tmp_path / "seen"], timeout=20, check=True)
    assert (tmp_path / "seen").read_text() == "0 body error\n"


async def test_signal_handlers_are_the_default_ones(tmp_path: Path) -> None:
    await shell(f"grep SigIgn /proc/self/status >{tmp_path}/seen").run(make_work())
    ignored = int((tmp_path / "seen").read_text().split()[1], 16)
    for signum in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
        assert not ignored & 1 << (signum - 1)


# --- commands that do not behave -------------------------------------------------------------


async def test_a_command_need_not_read_its_input() -> None:
    work = make_work(b"x" * 1_000_000)
    assert (await shell("exit 0").run(work)).kind is Kind.SUCCESS
    assert (await shell("exec <&-; sleep 0.1; exit 2").run(work)).kind is Kind.TEMPORARY_FAIL


async def test_100_mb_on_both_pipes_at_once() -> None:
    handler = shell("head -c 100000000 /dev/zero & head -c 100000000 /dev/zero >&2 & wait; exit 1")
    outcome = await handler.run(make_work())
    assert outcome.kind is Kind.PERMANENT_FAIL
    assert outcome.details["stdout_bytes"] == outcome.details["stderr_bytes"] == 100_000_000


async def test_what_was_written_last_is_read_after_the_exit() -> None:
    outcome = await shell("head -c 60000 /dev/zero >&2; echo last >&2; exit 1").run(make_work())
    assert outcome.error.endswith("last")
    assert outcome.details["stderr_bytes"] == 60005


async def test_a_grandchild_that_keeps_the_pipes_is_killed(tmp_path: Path) -> None:
    handler = shell(f"sleep 100 & echo $! >{tmp_path}/pid; exit 0")
    outcome = await asyncio.wait_for(handler.run(make_work()), 10)
    assert outcome.kind is Kind.SUCCESS
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_grandchild_without_the_pipes_is_killed_too(tmp_path: Path) -> None:
    handler = shell(f"sleep 100 >/dev/null 2>&1 </dev/null & echo $! >{tmp_path}/pid; exit 1")
    outcome = await asyncio.wait_for(handler.run(make_work()), 10)
    assert outcome.kind is Kind.PERMANENT_FAIL
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_grandchild_that_soon_ends_may_end(tmp_path: Path) -> None:
    handler = shell(f"(sleep 0.1; echo done >{tmp_path}/end) & exit 0")
    await handler.run(make_work())
    assert (tmp_path / "end").exists()


async def test_a_grandchild_in_a_session_of_its_own_does_not_hold_the_slot(tmp_path: Path) -> None:
    handler = shell(f"setsid sh -c 'echo $$ >{tmp_path}/pid; sleep 100' & exit 0")
    outcome = await asyncio.wait_for(handler.run(make_work()), 10)
    assert outcome.kind is Kind.SUCCESS
    os.kill(int(await until_written(tmp_path / "pid")), signal.SIGKILL)


async def test_a_grandchild_that_never_stops_writing_does_not_hold_the_slot() -> None:
    outcome = await asyncio.wait_for(shell("yes & exit 0").run(make_work()), 10)
    assert outcome.kind is Kind.SUCCESS


@pytest.mark.parametrize(
    ("content", "mode"),
    [(None, 0), ("#!/bin/sh\n", 0o644), ("#!/no/such/interpreter\n", 0o755), ("junk", 0o755)],
    ids=["missing", "not executable", "no interpreter", "no program"],
)
async def test_what_cannot_be_started_is_said_so(
    content: str | None, mode: int, tmp_path: Path
) -> None:
    command = tmp_path / "command"
    if content is not None:
        command.write_text(content)
        command.chmod(mode)
    before = descriptors()
    outcome = await CommandHandler([str(command)]).run(make_work(b"x" * 100_000))
    assert outcome.kind is Kind.NOT_STARTED
    assert str(command) in outcome.error
    assert descriptors() == before


async def test_out_of_descriptors_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    pipe = os.pipe

    def scarce() -> tuple[int, int]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(24, "Too many open files")
        return pipe()

    monkeypatch.setattr(os, "pipe", scarce)
    before = descriptors()
    assert (await shell("exit 0").run(make_work())).kind is Kind.NOT_STARTED
    assert descriptors() == before


async def test_without_pidfd_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    before = set(threading.enumerate())
    outcomes = await asyncio.gather(*(shell(f"exit {n}").run(make_work()) for n in range(4)))
    assert [outcome.exit_code for outcome in outcomes] == [None, 1, 2, 3]
    while not before.issuperset(threading.enumerate()):
        await asyncio.sleep(0.01)


# --- stopping --------------------------------------------------------------------------------


async def stop(handler: CommandHandler, ready: Path, grace: float = 5.0) -> Outcome:
    """Run it, and tell it to end as soon as it is ready."""
    task = asyncio.ensure_future(handler.run(make_work(kill_grace=grace)))
    await until_written(ready)
    task.cancel()
    return await asyncio.wait_for(task, 20)


async def test_a_cancelled_command_is_asked_to_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    outcome = await stop(shell(f"echo $$ >{ready}; exec sleep 100"), ready)
    assert (outcome.kind, outcome.exit_code) == (Kind.UNKNOWN_FAIL, -15)


async def test_success_after_the_stop_is_a_success(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    outcome = await stop(
        shell(f"trap 'exit 0' TERM; echo >{ready}; while :; do sleep 0.01; done"), ready
    )
    assert outcome.kind is Kind.SUCCESS


async def test_a_command_that_ignores_term_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    outcome = await stop(
        shell(f"trap '' TERM; echo >{ready}; while :; do sleep 0.01; done"), ready, grace=0.1
    )
    assert outcome.exit_code == -9


async def test_the_whole_group_is_told(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; sh -c 'trap : TERM; echo $$ >{ready}; sleep 100; sleep 100' & wait"
    outcome = await stop(shell(script), ready, grace=0.1)
    assert outcome.exit_code == -9
    await until_gone(int(ready.read_text()))


async def test_a_second_cancel_kills_at_once(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    handler = shell(f"trap '' TERM; echo >{ready}; while :; do sleep 0.01; done")
    task = asyncio.ensure_future(handler.run(make_work(kill_grace=1000.0)))
    await until_written(ready)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    outcome = await asyncio.wait_for(task, 10)
    assert outcome.exit_code == -9


async def test_a_stopped_command_can_be_ended(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    outcome = await stop(shell(f"echo $$ >{ready}; kill -STOP $$"), ready, grace=0.1)
    assert outcome.exit_code == -9


async def test_an_abandoned_process_leaves_nothing(tmp_path: Path) -> None:
    before = descriptors()
    process = CommandProcess(["/bin/sleep", "100"], b"x" * 100_000, os.environb, ChildWatcher())
    process.abandon()
    await asyncio.wait_for(process.wait(), 10)
    assert descriptors() == before
    process.abandon()


async def test_an_abandoned_process_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def asleep(seconds: float) -> None:
        raise AssertionError("the loop stands still")

    monkeypatch.setattr(time, "sleep", asleep)
    before = descriptors()
    process = CommandProcess(["/bin/sleep", "100"], b"x" * 100_000, os.environb, ChildWatcher())
    # As of one that the kernel cannot end yet: it hangs in a system call.
    waitpid, hangs = os.waitpid, True
    monkeypatch.setattr(os, "waitpid", lambda *args: (0, 0) if hangs else waitpid(*args))
    process.abandon()
    assert not process.over
    for _ in range(5):
        await asyncio.sleep(0)
    hangs = False
    await asyncio.wait_for(process.wait(), 10)
    assert descriptors() == before


async def test_what_lingers_can_be_abandoned(tmp_path: Path) -> None:
    before = descriptors()
    script = f"sleep 100 & echo $! >{tmp_path}/pid"
    process = CommandProcess(["/bin/sh", "-c", script], b"", os.environb, ChildWatcher())
    while not process._exited:
        await asyncio.sleep(0)
    process.abandon()
    assert process.over
    assert descriptors() == before
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_the_linger_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandHandler, "linger", 0.0)
    outcome = await asyncio.wait_for(shell("sleep 100 & exit 0").run(make_work()), 5)
    assert outcome.kind is Kind.SUCCESS


# --- configuration ---------------------------------------------------------------------------


def test_a_command_is_split_as_by_a_shell() -> None:
    assert split_command("php 'my worker.php' --x=\"1 2\" $HOME") == (
        "php",
        "my worker.php",
        "--x=1 2",
        "$HOME",
    )


@pytest.mark.parametrize("text", ["", "   ", "'", "a\0b", '""'])
def test_a_bad_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_command(text)


@given(st.text())
def test_any_text_is_a_command_or_refused(text: str) -> None:
    try:
        words = split_command(text)
    except ValueError:
        return
    assert words[0]


def test_the_command_must_be_there(tmp_path: Path) -> None:
    CommandHandler(["sh"]).check()
    CommandHandler(["/bin/sh"]).check()
    with pytest.raises(CannotStart, match="cannot be found"):
        CommandHandler(["no-such-command"]).check()
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(CannotStart, match="is not executable"):
        CommandHandler([str(script)]).check()
    with pytest.raises(CannotStart, match="is not executable"):
        CommandHandler([str(tmp_path)]).check()


def test_it_says_what_it_runs() -> None:
    assert CommandHandler(["a", "b c"]).describe() == "command a 'b c'"
