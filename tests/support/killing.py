"""Processes that are killed at a chosen line of the package, and what they leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import beanstalkt

ROOT = str(Path(beanstalkt.__file__).parent)
ROOMS = tuple(f"{ROOT}/{name}/" for name in ("admin", "client"))

Main = Callable[[], Coroutine[Any, Any, object]]


class Killer:
    """Counts the lines of some rooms of the package that run, and kills the process at one.

    :param at: the number of that line; None: it is not killed
    """

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.lines = 0

    def start(self) -> None:
        sys.settrace(self._call)

    def _call(self, frame: FrameType, event: str, _: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(ROOMS) else None

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def run(main: Main, at: int | None = None) -> int | None:
    """Run a coroutine in a process of its own that is killed at a line, with SIGKILL.

    Returns how many lines ran if it came to its end before; None if it was killed.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _child(main, at, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.WEXITSTATUS(status) == 0, told.decode()
    return int(told)


def _child(main: Main, at: int | None, writer: int) -> None:
    status = 1
    try:
        killer = Killer(at)
        killer.start()
        asyncio.run(main())
        sys.settrace(None)
        os.write(writer, b"%d" % killer.lines)
        status = 0
    except BaseException:
        sys.settrace(None)
        os.write(writer, traceback.format_exc().encode())
    finally:
        os._exit(status)
