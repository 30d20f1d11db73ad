"""Functions that jobs call by name.

To try it with a beanstalkd on localhost, run in this directory::

    beanstalkt work --config worker.ini &
    python schedule.py

``resize`` runs in a child process, which is killed at the time limit; ``greet`` is a coroutine
function and runs on the event loop of the runner; ``Report`` has a time limit of its own, and
hooks.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from beanstalkt.dispatch import SafeTask
from beanstalkt.worker import Reject, Retry


def resize(path: str, *, width: int) -> None:
    """Shrink a picture, in a plain function that may block. Bytes stand for pixels here."""
    if width <= 0:
        # No attempt can succeed: the job is buried, whatever the configuration says.
        raise Reject(f"no picture is {width} wide")
    source = Path(path)
    if not source.exists():
        # The picture may arrive later.
        raise Retry(delay=1)
    source.with_suffix(".small").write_bytes(source.read_bytes()[:width])


async def greet(path: str, name: str) -> None:
    """Write a greeting, in a coroutine function that waits without blocking."""
    await asyncio.sleep(0.1)
    Path(path).write_text(f"Hello, {name}!\n")


class Report(SafeTask):
    """Write a report, and clean up if that fails."""

    timeout_timedelta = timedelta(seconds=30)

    def run(self, path: str, lines: list[str]) -> None:
        with Path(path).open("w") as file:
            file.writelines(f"{line}\n" for line in lines)

    def on_error(self, exception: BaseException, path: str, lines: list[str]) -> None:
        # Do not leave half a report.
        Path(path).unlink(missing_ok=True)

    def on_completion(self, path: str, lines: list[str]) -> None:
        print(f"{path}: {len(lines)} lines were wanted")
