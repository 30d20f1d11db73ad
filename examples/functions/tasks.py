"""Functions that jobs call by name.

To try it, with a beanstalkd on localhost, in this directory::

    beanstalkt work --config worker.ini &
    python schedule.py

``resize`` runs in a child process, which can be killed at the time limit; ``greet`` is a coroutine
function and runs on the runner's loop; ``Report`` has a limit of its own, and hooks.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from beanstalkt.dispatch import SafeTask
from beanstalkt.worker import Reject, Retry


def resize(path: str, *, width: int) -> None:
    """Plain work, that may block. The file's size stands for that of a picture."""
    if width <= 0:
        # It can never succeed: the job is buried, whatever the configuration says.
        raise Reject(f"no picture is {width} wide")
    source = Path(path)
    if not source.exists():
        # It may be there later.
        raise Retry(delay=1)
    source.with_suffix(".small").write_bytes(source.read_bytes()[:width])


async def greet(path: str, name: str) -> None:
    """Work that waits, and does not block."""
    await asyncio.sleep(0.1)
    Path(path).write_text(f"Hello, {name}!\n")


class Report(SafeTask):
    """Work with something to do before and after."""

    timeout_timedelta = timedelta(seconds=30)

    def run(self, path: str, lines: list[str]) -> None:
        with Path(path).open("w") as file:
            file.writelines(f"{line}\n" for line in lines)

    def on_error(self, exception: BaseException, path: str, lines: list[str]) -> None:
        # Half a report is worse than none.
        Path(path).unlink(missing_ok=True)

    def on_completion(self, path: str, lines: list[str]) -> None:
        print(f"{path}: {len(lines)} lines were wanted")
