"""The slots of one tube."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .config.settings import TubeSettings
from .handlers.base import Handler
from .log.lines import log
from .slot import MAX_BACK_OFF, PAUSE, Boss, Slot

Task = asyncio.Task[None]

_OTHERS = (GeneratorExit, KeyboardInterrupt, SystemExit)
"""What is meant for the whole process, or for the coroutine itself; of a job, they do not get
here."""


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
        self.handler = handler
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
        self.ended = loop.create_task(self._end())

    async def _run(self, slot: Slot, before: Task | None) -> None:
        """Keep the slot at work until it has been told to end: one that died would be one worker
        less, and nobody would know."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            began = loop.time()
            try:
                if before is not None:
                    await asyncio.wait({before})
                if pause:
                    await slot.rest(pause)
                    began = loop.time()
                await slot.run()
            except _OTHERS:
                raise
            except BaseException as error:
                if slot.ending and isinstance(error, asyncio.CancelledError):
                    return
                if loop.time() - began > MAX_BACK_OFF:
                    pause = 0.0
                pause = min(max(2 * pause, PAUSE), MAX_BACK_OFF)
                text = "tube %s, slot %d: it has ended by %s, and is started again in %g s"
                log.exception(text, slot.tube, slot.number, type(error).__qualname__, pause)
            else:
                return

    async def _end(self) -> None:
        left: set[Task] = set(self.tasks)
        while left:
            try:
                _, left = await asyncio.wait(left)
            except asyncio.CancelledError:
                # By whoever cancels all tasks. The slots end soon, and need their handler so long.
                left = {task for task in left if not task.done()}
        try:
            await self.handler.close()
        except GeneratorExit:
            raise
        except BaseException:
            log.exception("tube %s: its handler could not be closed", self.tube)

    async def ready(self) -> None:
        """Until every slot waits for jobs, or has ended."""
        await asyncio.wait([slot.ready for slot in self.slots])
