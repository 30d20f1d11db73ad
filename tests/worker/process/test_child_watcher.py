"""Children that exit, and what is open while they are watched."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import threading
from typing import Any

import pytest

from beanstalkt.worker.process.child_watcher import ChildWatcher

from ...support.leftovers import descriptors


def child() -> subprocess.Popen[bytes]:
    """One that goes on until its stdin is closed, and then watcher with 3."""
    return subprocess.Popen(["/bin/sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


class Watched:
    """A child, and whether its exit was told."""

    def __init__(self, watcher: ChildWatcher, *also: Watched) -> None:
        self.process = child()
        self.told = asyncio.get_running_loop().create_future()
        self._watcher = watcher
        self._also = also
        watcher.watch(self.process.pid, self._exited)

    def _exited(self) -> None:
        for each in (self, *self._also):
            self._watcher.forget(each.process.pid)
        assert self.process.poll() == 3
        self.told.set_result(None)


async def test_each_is_told_of_by_itself_and_nothing_stays_open() -> None:
    before = descriptors()
    watcher = ChildWatcher()
    first, second = Watched(watcher), Watched(watcher)
    end(second.process)
    await asyncio.wait_for(second.told, 10)
    assert not first.told.done()
    end(first.process)
    await asyncio.wait_for(first.told, 10)
    assert descriptors() == before
    third = Watched(watcher)  # it can be used again
    end(third.process)
    await asyncio.wait_for(third.told, 10)
    assert descriptors() == before


async def test_many_at_once_take_one_place_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop: Any = asyncio.get_running_loop()
    added: list[int] = []
    add = loop.add_reader

    def counted(fd: int, *callback: Any) -> None:
        added.append(fd)
        add(fd, *callback)

    monkeypatch.setattr(loop, "add_reader", counted)
    watcher = ChildWatcher()
    children = [Watched(watcher) for _ in range(20)]
    for each in children:
        end(each.process)
    await asyncio.wait_for(asyncio.gather(*(each.told for each in children)), 20)
    assert len(added) == 1


async def test_one_exit_may_have_another_forgotten() -> None:
    watcher = ChildWatcher()
    one = Watched(watcher)
    two = Watched(watcher, one)
    one._also = (two,)
    for each in (one, two):  # both have exited before the loop looks
        end(each.process)
        os.waitid(os.P_PID, each.process.pid, os.WEXITED | os.WNOWAIT)
    await asyncio.wait([one.told, two.told], timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert one.told.done() != two.told.done()
    await asyncio.sleep(0)
    assert one.told.done() != two.told.done()
    for each in (one, two):
        each.process.wait()


async def test_one_that_is_forgotten_is_not_told_of() -> None:
    before = descriptors()
    watcher = ChildWatcher()
    forgotten = Watched(watcher)
    watcher.forget(forgotten.process.pid)
    watcher.forget(forgotten.process.pid)
    end(forgotten.process)
    assert forgotten.process.wait() == 3
    await asyncio.sleep(0)
    assert not forgotten.told.done()
    assert descriptors() == before


async def test_a_copy_of_the_descriptor_does_not_tell_of_another_child() -> None:
    watcher = ChildWatcher()
    other = Watched(watcher)
    first = Watched(watcher)
    number = watcher._pidfds[first.process.pid]
    copy = os.dup(number)  # as a child has it that is just being started
    end(first.process)
    await asyncio.wait_for(first.told, 10)
    second = Watched(watcher)
    assert watcher._pidfds[second.process.pid] == number
    for _ in range(5):
        await asyncio.sleep(0)
        assert not second.told.done()
    os.close(copy)
    for each in (second, other):
        end(each.process)
        await asyncio.wait_for(each.told, 10)


def none(*_: Any) -> Any:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize("missing", ["pidfd_open", "epoll"])
async def test_without_a_descriptor_a_thread_waits(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, threads = descriptors(), set(threading.enumerate())
    monkeypatch.setattr(os if missing == "pidfd_open" else select, missing, none)
    watcher = ChildWatcher()
    watched = Watched(watcher)
    end(watched.process)
    await asyncio.wait_for(watched.told, 10)
    while not threads.issuperset(threading.enumerate()):
        await asyncio.sleep(0.01)
    assert descriptors() == before
