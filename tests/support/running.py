"""A runner in the test's own process, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from beanstalkt.worker.config.loading import load
from beanstalkt.worker.config.settings import Settings
from beanstalkt.worker.config.sources import Flags
from beanstalkt.worker.log.lines import LogEntry
from beanstalkt.worker.log.observer import LogObserver
from beanstalkt.worker.process.command_guard import guarded
from beanstalkt.worker.runner import Runner
from beanstalkt.worker.timing import WorkerTiming

from .beanstalkd import Beanstalkd

PATIENCE = 20.0
"""Seconds; what takes longer does not come."""


class Events(logging.Handler):
    """The events that a runner logs, each as its fields with its name as ``event``."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[dict[str, Any]] = []
        self._log = logging.getLogger("beanstalkt.worker")
        self._level = self._log.level

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, LogEntry):
            self.all.append({"event": record.msg.name, **record.msg.fields})
        else:
            self.all.append({"event": "message", "message": record.getMessage()})

    def __enter__(self) -> Events:
        self._log.setLevel(logging.INFO)
        self._log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
        self._log.setLevel(self._level)

    def find(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            found
            for found in self.all
            if found["event"] == event and fields.items() <= found.items()
        ]

    async def wait(self, event: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The `count`-th event with these fields."""
        await until(lambda: len(self.find(event, **fields)) >= count, f"{event} {fields}", self)
        return self.find(event, **fields)[count - 1]


async def until(
    condition: Callable[[], bool], what: str = "", events: Events | None = None
) -> None:
    """Wait until it holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        told = "" if events is None else "\n".join(map(str, events.all))
        assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}\n{told}"
        await asyncio.sleep(0.01)


def settings(
    server: Beanstalkd | str, *tubes: str, options: Mapping[str, str] | None = None, **more: Any
) -> Settings:
    """As if these tubes and options were on the command line."""
    url = server if isinstance(server, str) else server.url
    return load(Flags(options or {}, tubes, server=url, **more), {})


TIMING = WorkerTiming(
    back_off_delay=0.05, recovery_delay=0.05, tube_scan_interval=0.05, max_reconnect_delay=1.0
)
"""Short intervals, so that no test waits for what fails to be tried again."""


class Running:
    """``async with Running(settings, …) as running``: from ready to its end.

    Whatever still runs at the end is stopped, and must have stopped.
    """

    def __init__(self, chosen: Settings, **options: Any) -> None:
        options.setdefault("timing", TIMING)
        options["observers"] = [LogObserver(), *options.get("observers", [])]
        self.runner = Runner(chosen, **options)
        self.events = Events()
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Running:
        self.events.__enter__()
        self.task = asyncio.get_running_loop().create_task(self._run())
        await until(
            lambda: bool(self.events.find("ready") or (self.task and self.task.done())),
            "ready",
            self.events,
        )
        return self

    async def _run(self) -> None:
        async with guarded():
            await self.runner.run()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.task is not None
        try:
            while not self.task.done():
                self.runner.stop()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self.task), 5)
        finally:
            self.events.__exit__()
        assert not self.runner.running
        if error is None:
            self.task.result()

    async def job(self, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The `count`-th job that ended with these fields."""
        return await self.events.wait("job", count, **fields)

    async def end(self) -> None:
        """Until it has ended by itself."""
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)
