"""What becomes of commands whose runner is killed, and of the process that sees to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.process import command_guard, guard_program
from beanstalkt.worker.process.command_guard import guarded

from ...support.commands import shell
from ...support.leftovers import descriptors
from ...support.processes import gone, no_child_left, until_gone, until_written
from ...support.waiting import until
from ...support.work import make_work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor and no child may be left by any test."""
    before = len(descriptors())
    yield
    assert len(descriptors()) <= before
    assert not command_guard._shared
    no_child_left()


PROGRAM = """
import asyncio, os, sys, time
from beanstalkt.worker.process.command_guard import guarded
from beanstalkt.worker.handlers.command.handler import CommandHandler
from tests.support.work import make_work

async def main() -> None:
    handler = CommandHandler(["/bin/sh", "-c", sys.argv[1]])
    works = [make_work(slot=slot) for slot in range(int(sys.argv[2]))]
    async with guarded():
        await asyncio.gather(*map(handler.run, works))

asyncio.run(main())
"""


async def until_group_gone(group: int) -> None:
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        await asyncio.sleep(0.01)


def runner(script: str, commands: int = 1) -> subprocess.Popen[bytes]:
    """A process that runs so many commands at once."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, script, str(commands)])


@pytest.mark.parametrize("attempt", range(5))
async def test_a_command_and_its_group_end_with_a_killed_runner(
    attempt: int, tmp_path: Path
) -> None:
    # With a grandchild in the group, a leader that ignores what it can, and closed streams.
    process = runner(
        "trap '' TERM HUP INT; sleep 100 & "
        f"exec >/dev/null 2>&1 <&-; echo $$ $! >{tmp_path}/pids; while :; do sleep 0.1; done"
    )
    pids = map(int, (await until_written(tmp_path / "pids")).split())
    process.kill()
    process.wait()
    for pid in pids:
        await until_gone(pid)


async def test_a_group_without_its_leader_ends_too(tmp_path: Path) -> None:
    process = runner(f"(echo $$ >{tmp_path}/pid; exec sleep 100) & kill -9 $$")
    await until_written(tmp_path / "pid")
    (group,) = map(int, (tmp_path / "pid").read_text().split())
    process.kill()
    process.wait()
    await until_group_gone(group)


@pytest.mark.parametrize("attempt", range(5))
async def test_no_start_is_missed(attempt: int, tmp_path: Path) -> None:
    """The runner is killed while it is starting commands, one after another."""
    process = runner(f"echo $$ >{tmp_path}/$$; exec sleep 100", 200)
    while len(os.listdir(tmp_path)) < 3 + 10 * attempt:
        await asyncio.sleep(0)
    process.kill()
    process.wait()
    await asyncio.sleep(0.2)  # one whose start was under way writes its name yet
    started = [int(name) for name in os.listdir(tmp_path)]
    assert len(started) < 200
    for pid in started:
        await until_gone(pid)


@pytest.mark.parametrize("user", ["root", "another"])
async def test_a_start_whose_leader_has_ended_is_found(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = str(os.getpid())
    since = command_guard._ticks()
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 100 & kill -9 $$"],
        env={**os.environ, "MARK": mark},
        start_new_session=True,
    )
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)

    def refusing(name: str, mode: str) -> IO[Any]:
        if name == f"/proc/{leader.pid}/environ":
            raise PermissionError(13, "as newer kernels say, but not to root")
        return open(name, mode)

    if user == "another":
        monkeypatch.setattr(guard_program, "open", refusing, raising=False)
    killed: set[int] = set()
    try:
        guard_program.kill_marked(f"MARK={mark}0".encode(), since, killed)
        assert not killed

        def found() -> bool:
            guard_program.kill_marked(f"MARK={mark}".encode(), since, killed)
            return bool(killed)

        # As the program does: a process that is becoming `sleep` has no environment for a moment.
        await until(found, "what the leader left behind is found")
        assert killed == {leader.pid}
    finally:
        leader.wait()
    await until_group_gone(leader.pid)


async def test_a_start_that_was_under_way_is_found() -> None:
    def start(mark: str, leads: bool = True) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "MARK": mark}
        return subprocess.Popen(["sleep", "100"], env=environment, start_new_session=leads)

    mark = str(os.getpid())
    before = start(mark)
    await asyncio.sleep(0.05)
    since = command_guard._ticks()
    # The table holds no more than this about their starts.
    mine = start(mark)
    others = [before, start(mark, leads=False), start(mark + "0"), start("")]
    killed: set[int] = set()
    try:
        for _ in range(2):
            guard_program.kill_marked(f"MARK={mark}".encode(), since, killed)
        assert killed == {mine.pid}
        assert mine.wait(10) == -signal.SIGKILL
        assert all(other.poll() is None for other in others)
    finally:
        for process in (mine, *others):
            process.kill()
            process.wait()


async def test_a_copy_of_the_runner_does_not_hide_its_end(tmp_path: Path) -> None:
    """As a function leaves it that has forked."""
    program = PROGRAM.replace(
        "async def main() -> None:\n",
        "async def main() -> None:\n    asyncio.get_running_loop().call_later(0.3, fork)\n",
    ).replace(
        "async def main",
        "def fork() -> None:\n"
        "    if os.fork() == 0:\n"
        "        open(sys.argv[3], 'w').write(f'{os.getpid()}\\n')\n"
        "        time.sleep(100)\n"
        "async def main",
        1,
    )
    script = f"echo $$ >{tmp_path}/pid; exec sleep 100"
    command = [sys.executable, "-c", program, script, "1", str(tmp_path / "copy")]
    process = subprocess.Popen(command)
    copy = int(await until_written(tmp_path / "copy"))
    pid = int(await until_written(tmp_path / "pid"))
    process.kill()
    process.wait()
    await until_gone(pid)
    assert not gone(copy)
    os.kill(copy, signal.SIGKILL)


async def test_a_guard_that_ends_is_replaced() -> None:
    async with guarded(restart_delay=0.01) as mine:
        mine.ended(mine.starting())
        for _ in range(3):
            first = mine._pid
            assert first is not None
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(first, number)  # it has them blocked
            os.kill(first, signal.SIGKILL)
            while mine._pid in (None, first):
                await asyncio.sleep(0.01)


async def test_all_share_one_and_the_last_ends_it() -> None:
    async with guarded() as first:
        assert first._pid is None  # none before it is needed
        first.ended(first.starting())
        pid = first._pid
        assert pid is not None
        async with guarded() as second:
            assert second is first
        assert not gone(pid)
    assert gone(pid)


async def test_the_table_holds_what_runs_and_nothing_else(tmp_path: Path) -> None:
    handler = shell(f"echo >{tmp_path}/$BEANSTALKT_SLOT; exec sleep 100")
    works = [make_work(slot=slot) for slot in range(100)]
    async with guarded(table_size=32 * guard_program.RECORD.size) as mine:
        running = asyncio.gather(*map(handler.run, works))
        while len(os.listdir(tmp_path)) < 100:
            await asyncio.sleep(0.01)
        assert mine._file is not None
        table = os.pread(mine._file, 1 << 20, 0)
        groups = [group for group, since in guard_program.RECORD.iter_unpack(table) if since]
        assert len(set(groups)) == len(groups) == 100
        for group in groups:
            os.killpg(group, signal.SIGKILL)
        await running
        await CommandHandler(["/no/such/command"]).run(make_work())
        assert os.pread(mine._file, 1 << 20, 0) == bytes(128 * guard_program.RECORD.size)
        assert len(set(mine._free)) == len(mine._free) == 128


async def test_what_still_runs_when_it_is_closed_is_ended(tmp_path: Path) -> None:
    async with guarded() as mine:
        process = subprocess.Popen(["sleep", "100"], start_new_session=True)
        record = mine.starting()
        mine.started(record, process.pid)
    assert process.wait(10) == -signal.SIGKILL
    mine.ended(record)  # later than that


@pytest.mark.parametrize("lacking", ["memfd_create", "pipe", "posix_spawn"])
async def test_without_a_guard_commands_run_on(
    lacking: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    async with guarded(restart_delay=0.01) as mine:
        with monkeypatch.context() as patch:
            patch.setattr(os, lacking, none)
            record = mine.starting()
            mine.started(record, 2**40)
            mine.ended(record)
            await asyncio.sleep(0.05)
        assert caplog.text.count("if this runner is killed") == 1
        assert (await shell("exit 3").run(make_work())).exit_code == 3
        while mine._pid is None:  # and it is tried again
            await asyncio.sleep(0.01)


async def test_it_needs_no_standard_stream(tmp_path: Path) -> None:
    script = f"echo $$ >{tmp_path}/pid; exec sleep 100"
    run = f'exec "{sys.executable}" -c "$0" "$1" 1 <&- >&- 2>&-'
    process = subprocess.Popen(["/bin/sh", "-c", run, PROGRAM, script])
    pid = int(await until_written(tmp_path / "pid"))
    process.kill()
    process.wait()
    await until_gone(pid)
