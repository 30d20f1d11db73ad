"""A handler of one function, for tests of the runner's core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from beanstalkt.worker.handlers.base import Handler, WorkerJob
from beanstalkt.worker.policy.outcome import SUCCESS, Outcome

Do = Callable[[WorkerJob], Awaitable[Outcome]]


class DoHandler(Handler):
    """A handler that awaits a function."""

    def __init__(self, do: Do) -> None:
        self._do = do

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> DoHandler:
        return cls(values["do"])

    def describe(self) -> str:
        return "a function"

    async def run(self, work: WorkerJob) -> Outcome:
        return await self._do(work)


async def succeed(work: WorkerJob) -> Outcome:
    return SUCCESS
