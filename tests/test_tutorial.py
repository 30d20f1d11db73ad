"""The tutorial works as it is written, step by step, in an empty folder.

A ``python`` block that begins with the name of a file is that file. A command that ends in ``&``
goes on until the end of the test; the next step begins when what it starts answers.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from .support.documents import DOC, Block, blocks
from .support.ports import free_port
from .support.waiting import block_until

STEPS = blocks(DOC / "tutorial.md")


class Reader:
    """Does what the tutorial says."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running
        self._ports = {"11300": str(free_port()), "8888": str(free_port())}
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "BEANSTALKD_URL": f"beanstalk://127.0.0.1:{self._ports['11300']}",
        }

    def _adapted(self, text: str) -> str:
        """Return a text with free ports in the place of the usual ones."""
        for usual, port in self._ports.items():
            text = text.replace(usual, port)
        return text.replace("beanstalkt serve", f"beanstalkt serve --port {self._ports['11300']}")

    def take(self, step: Block) -> None:
        if step.language == "python":
            name, _, text = step.text.partition("\n")
            (self._folder / name.removeprefix("# ")).write_text(self._adapted(text))
        elif step.language == "console":
            for command in re.split(r"^\$ ", step.text, flags=re.MULTILINE)[1:]:
                line, _, expected = command.partition("\n")
                if line.endswith("&"):
                    self._start(self._adapted(line.removesuffix("&")))
                else:
                    assert self._run(self._adapted(line)) == expected.rstrip("\n"), line

    def _start(self, command: str) -> None:
        port = self._ports["11300" if "serve" in command else "8888"]
        self._running.enter_context(running(command.split(), self._folder, self._environment))
        block_until(lambda: answers(int(port)), command)

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")


def answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@contextmanager
def running(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tutorial_works(tmp_path: Path) -> None:
    with ExitStack() as processes:
        reader = Reader(tmp_path, processes)
        for step in STEPS:
            reader.take(step)
    assert {path.name for path in (tmp_path / "letters").iterdir()} == {"Ada.txt"}
