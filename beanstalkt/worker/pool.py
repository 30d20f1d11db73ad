"""The slots of one tube."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .handler import Handler
from .settings import TubeSettings
from .slot import Boss, Slot

Task = asyncio.Task[None]


class Pool:
    """Starts with its first job already possible; ends when it is told to, and its jobs have.

    :param after: the slots of the pool that this one replaces: slot n waits until the old one
        has ended, so that there are never more jobs under way than workers
    """

    def __init__(
        self,
        boss: Boss,
        tube: str,
        settings: TubeSettings,
        handler: Handler,
        after: Sequence[Task] = (),
    ) -> None:
        self.tube = tube
        self.settings = settings
        self.slots = [
            Slot(boss, tube, number, settings, handler)
            for number in range(1, settings.workers + 1)
        ]
        loop = asyncio.get_running_loop()
        #: of each slot, in their order
        self.tasks = [
            loop.create_task(self._run(slot, after[index] if index < len(after) else None))
            for index, slot in enumerate(self.slots)
        ]
        #: done when all is over
        self.ended = loop.create_task(self._end(handler))

    async def _run(self, slot: Slot, before: Task | None) -> None:
        if before is not None:
            await before
        await slot.run()

    async def _end(self, handler: Handler) -> None:
        await asyncio.wait(self.tasks)
        await handler.close()

    async def ready(self) -> None:
        """Until every slot waits for jobs, or has ended."""
        await asyncio.wait([slot.ready for slot in self.slots])
