"""Processes that a runner inherits are waited for; its own are left to those who started them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beanstalkt.worker.process import orphan_reaper
from beanstalkt.worker.process.child_watcher import ChildWatcher, watched
from beanstalkt.worker.process.command_process import CommandProcess
from beanstalkt.worker.process.orphan_reaper import OrphanReaper, adopts_orphans, reap_orphans

from ...support.processes import children, until_written

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")

SET_CHILD_SUBREAPER = 36

SOON = 0.01
"""Seconds from the exit of a child to the scan for zombies."""


@pytest.fixture
def subreaper() -> Iterator[None]:
    """This process gets the orphans of the test."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert not children()


async def command(script: str) -> None:
    """Run a command as the runner does."""
    process = CommandProcess(["/bin/sh", "-c", script], b"", os.environb, ChildWatcher())
    assert await process.wait() == 0


async def until_none() -> None:
    while children():
        await asyncio.sleep(0.01)


def test_who_gets_orphans(subreaper: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert adopts_orphans()
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert not adopts_orphans()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert adopts_orphans()


async def test_a_process_that_gets_none_is_left_alone() -> None:
    loop = asyncio.get_running_loop()
    with reap_orphans(lambda: False, SOON):
        assert not loop.remove_signal_handler(17)


@pytest.mark.parametrize("script", ["setsid sh -c 'sleep 0.2' &", "sleep 100 & exit 0"])
async def test_what_commands_leave_is_waited_for(subreaper: None, script: str) -> None:
    with reap_orphans(lambda: False, SOON):
        await asyncio.gather(*(command(script) for _ in range(10)))
        await until_none()


async def test_zombies_that_were_there_before(subreaper: None) -> None:
    await command("setsid true &")
    while not orphan_reaper._zombie(os.P_ALL, 0):
        await asyncio.sleep(0.01)
    with reap_orphans(lambda: False, SOON):
        await until_none()


async def test_a_zombie_of_ours_does_not_hide_others(subreaper: None) -> None:
    mine = subprocess.Popen(["true"])
    watched.add(mine.pid)  # and nobody looks
    os.waitid(os.P_PID, mine.pid, os.WEXITED | os.WNOWAIT)
    with reap_orphans(lambda: False, SOON):
        await command("setsid true & setsid sleep 0.1 &")
        while children() != [mine.pid]:
            await asyncio.sleep(0.01)
    watched.discard(mine.pid)
    assert mine.wait() == 0


async def test_without_a_list_of_children_the_first_are_taken(
    subreaper: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container sees the processes of its host."""
    with reap_orphans(lambda: False, SOON), monkeypatch.context() as patch:
        patch.setattr(orphan_reaper, "_children", list)
        await command("setsid true & setsid true & setsid sleep 0.1 &")
        await until_none()


@pytest.mark.parametrize("session", [False, True])
async def test_processes_of_other_code_keep_their_status(subreaper: None, session: bool) -> None:
    with reap_orphans(lambda: True, SOON):
        own = [
            subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=session) for _ in range(3)
        ]
        # An orphan that neither is in our session nor leads one is surely nobody's.
        await command("setsid sh -c 'sleep 0.05 & sleep 0.1' & exit 0")
        await asyncio.sleep(0.3)
        assert [process.wait() for process in own] == [7] * 3
        again = await asyncio.create_subprocess_exec(
            "sh", "-c", "exit 7", start_new_session=session
        )
        assert await again.wait() == 7
    with reap_orphans(lambda: True, SOON, 0.0):
        await command("setsid true &")
        await until_none()


async def test_the_grace_is_kept_and_ends(subreaper: None) -> None:
    loop = asyncio.get_running_loop()
    with reap_orphans(lambda: True, SOON, 0.5):
        began = loop.time()
        process = subprocess.Popen(["true"])
        await until_none()
        assert loop.time() - began >= 0.5
    assert process.poll() == 0  # what subprocess makes of a status that is lost


async def test_nothing_is_left_in_the_loop(subreaper: None) -> None:
    found = OrphanReaper(lambda: False)
    for _ in range(3):
        found.child_exited()
    found.close()
    found.close()


@pytest.mark.parametrize("how", ["subreaper", "process 1"])
async def test_the_command_line_leaves_no_zombies(how: str, tmp_path: Path) -> None:
    if how == "process 1" and os.getuid() != 0:
        pytest.skip("only root can make a namespace")
    program = f"""
import asyncio, ctypes, os
if os.getpid() != 1:
    ctypes.CDLL(None).prctl({SET_CHILD_SUBREAPER}, 1, 0, 0, 0)
from beanstalkt.worker.process.command_guard import guarded
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.process.orphan_reaper import _children, adopts_orphans, reap_orphans
from tests.support.work import make_work

async def main() -> None:
    assert adopts_orphans() and ({how!r} == "subreaper") == (os.getpid() != 1)
    scripts = ["setsid sleep 0.2 & exit 0", "sleep 100 & exit 0"]
    with reap_orphans(lambda: False):
        async with guarded() as line:
            for script in scripts:
                handler = CommandHandler(["/bin/sh", "-c", script])
                outcomes = await asyncio.gather(*(handler.run(make_work()) for _ in range(10)))
                assert {{outcome.kind.value for outcome in outcomes}} == {{"success"}}
            while _children() != [line._pid]:
                await asyncio.sleep(0.01)

asyncio.run(main())
open({str(tmp_path / "done")!r}, "w").write("done\\n")
"""
    unshare = [] if how == "subreaper" else ["unshare", "--pid", "--fork", "--mount-proc"]
    process = await asyncio.create_subprocess_exec(*unshare, sys.executable, "-c", program)
    await asyncio.wait_for(process.wait(), 25)
    assert await until_written(tmp_path / "done")
