"""The slots of one tube, and the handler that they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from ..client.client import Client
from ..pool.pool import Pool
from ..protocol.servers import called, names_one
from .config.settings import TubeSettings
from .events import HandlerNotClosed, SlotRestarted
from .handlers.base import Handler
from .job_executor import SlotContext
from .pool_slot import PoolSlot
from .slot import Slot
from .timing import WorkerTiming

Task = asyncio.Task[None]

_NOT_OF_A_JOB = (GeneratorExit, KeyboardInterrupt, SystemExit)
"""Exceptions that end the process or the coroutine itself. Those that a job raises stay in its
attempt."""


class TubeSlots:
    """Run all slots of one tube from now on, until each was told to end and has.

    :param server: URL; or a list of several servers
    :param after: tasks of the slots that these replace: slot n waits until the old one has
        ended, so that there are never more jobs under way than workers
    """

    def __init__(
        self,
        context: SlotContext,
        server: str,
        settings: TubeSettings,
        handler: Handler,
        after: Sequence[Task] = (),
    ) -> None:
        #: what events call the server or the servers
        self.server = called(server)
        self.tube = settings.tube
        self.settings = settings
        self.handler = handler
        handler.publish_event = context.publish
        self._pool = None if names_one(server) else self._make_pool(server, context.timing)
        self.slots = [
            self._make_slot(context, number) for number in range(1, settings.workers + 1)
        ]
        #: slots that only wait for a lost server to settle their jobs; others stand in for them
        self.stranded: list[Slot] = []
        self._stranded_tasks: list[Task] = []
        self._context = context
        loop = asyncio.get_running_loop()
        #: of each slot, in their order
        self.tasks = [
            loop.create_task(self._run(slot, after[index] if index < len(after) else None))
            for index, slot in enumerate(self.slots)
        ]
        #: done when every slot has ended, and the handler is closed
        self.ended = loop.create_task(self._close())

    def _make_slot(self, context: SlotContext, number: int) -> Slot:
        if self._pool is None:
            return Slot(context, self.server, number, self.settings, self.handler)
        return PoolSlot(
            context, self.server, number, self.settings, self.handler, self._pool, self._replace
        )

    # --- several servers ---

    def _replace(self, slot: PoolSlot) -> None:
        """Have another slot take jobs in the place of one that waits for a lost server."""
        place = self.slots.index(slot)
        stand_in = self._make_slot(self._context, slot.number)
        self.stranded.append(slot)
        waiting = self.tasks[place]
        self._stranded_tasks.append(waiting)
        self.slots[place] = stand_in
        task = asyncio.get_running_loop().create_task(self._run(stand_in, None))
        self.tasks[place] = task
        waiting.add_done_callback(lambda _: self._settled(slot, waiting))

    def _settled(self, slot: Slot, task: Task) -> None:
        self.stranded.remove(slot)
        self._stranded_tasks.remove(task)

    def _make_pool(self, servers: str, timing: WorkerTiming) -> Pool:
        """Make the pool that all slots of the tube share."""
        pool = Pool(
            servers,
            watching=[self.tube],
            max_reconnect_delay=timing.max_reconnect_delay,
        )
        pool.on_new_connection = self._reconnected
        pool.is_needed = self._holds
        return pool

    def _pool_slots(self) -> list[PoolSlot]:
        slots = (*self.slots, *self.stranded)
        return [slot for slot in slots if isinstance(slot, PoolSlot)]

    def _reconnected(self, client: Client) -> None:
        for slot in self._pool_slots():
            slot.reconnected(client)

    def _holds(self, client: Client) -> bool:
        return any(slot.holder is client for slot in self._pool_slots())

    def set_servers(self, servers: str) -> None:
        """Take jobs from these servers from now on; those that run are finished where they are."""
        if self._pool is not None:
            self.server = called(servers)
            self._pool.set_servers(servers)

    @property
    def connections(self) -> int:
        """How many connections watch the tube."""
        return len(self.slots) if self._pool is None else self._pool.connections

    # --- their tasks ---

    async def _run(self, slot: Slot, before: Task | None) -> None:
        """Run a slot until it was told to end, and start it again if it ends by anything else."""
        loop = asyncio.get_running_loop()
        timing = self._context.timing
        delay = 0.0
        while True:
            began = loop.time()
            try:
                if before is not None:
                    await asyncio.wait({before})
                if delay:
                    await slot.rest(delay)
                    began = loop.time()
                await slot.run()
            except _NOT_OF_A_JOB:
                raise
            except BaseException as error:
                if slot.ending and isinstance(error, asyncio.CancelledError):
                    return
                if loop.time() - began > timing.max_back_off_delay:
                    delay = 0.0
                delay = min(max(2 * delay, timing.back_off_delay), timing.max_back_off_delay)
                self._context.publish(
                    SlotRestarted(self.server, self.tube, slot.number, error, delay)
                )
            else:
                return

    async def _close(self) -> None:
        while left := {task for task in (*self.tasks, *self._stranded_tasks) if not task.done()}:
            # If the program cancels all its tasks, the slots need their handler until they end.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(left)
        try:
            if self._pool is not None:
                await self._pool.close()
            await self.handler.close()
        except GeneratorExit:
            raise
        except BaseException as error:
            self._context.publish(HandlerNotClosed(self.tube, error))

    async def wait_ready(self) -> None:
        """Return when every slot waits for jobs, or has ended."""
        await asyncio.wait([slot.ready for slot in self.slots])
