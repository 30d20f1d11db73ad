"""The runner: the slots of all tubes, and what controls them together."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from ..client.client import Client
from ..errors import ConnectionLost
from ..pool.pool import Pool
from ..protocol.servers import called, names_one, urls_of
from .blocking import BlockingReports
from .burst import Burst
from .config.settings import EVERY_TUBE, ConfigError, Settings, TubeSettings
from .events import (
    Event,
    Observer,
    ReloadFailed,
    ReloadFinished,
    ReloadRefused,
    ReloadStarted,
    RunnerPaused,
    RunnerReady,
    RunnerResumed,
    RunnerStarting,
    RunnerStopped,
    RunnerStopping,
    TubeRetired,
    TubeStarted,
)
from .handlers.base import CannotStart, Handler
from .held_job import HeldJob
from .observers import Observers
from .slot import Slot
from .timing import WorkerTiming
from .tube_scan import TubeScan, client_for
from .tube_slots import TubeSlots


class Stage(enum.IntEnum):
    """A stage of stopping."""

    RUNNING = 0
    #: no job is reserved, those that run are finished
    DRAINING = 1
    #: jobs that run are stopped and released
    STOPPING = 2
    #: handlers that do not stop are left behind
    KILLING = 3


class Runner:
    """Run the jobs of tubes until it is stopped, or has run as many as it was told to.

    :param burst: end when no job is ready
    :param max_jobs: end after that many jobs; None: no limit
    :param connect_timeout: seconds for the first connection; None: for ever
    :param reread: makes the settings anew, for a reload; raises ConfigError
    :param observers: get every event; the log is one, where jobs are to be logged
    """

    def __init__(
        self,
        settings: Settings,
        *,
        burst: bool = False,
        max_jobs: int | None = None,
        connect_timeout: float | None = None,
        reread: Callable[[], Settings] | None = None,
        observers: Iterable[Observer] = (),
        timing: WorkerTiming | None = None,
    ) -> None:
        self.server = settings.server
        self.timing = timing or WorkerTiming()
        self.running: dict[tuple[str, int], HeldJob] = {}
        self.burst = Burst(self.timing.burst_check_interval) if burst else None
        self.stage = Stage.RUNNING
        self._settings = settings
        self._jobs_left = max_jobs
        self._connect_timeout = connect_timeout
        self._reread = reread
        self._observers = Observers(observers)
        #: hands an event to the observers; see `SlotContext`
        self.publish: Callable[[Event], None] = self._observers.publish
        self.wants: Callable[[type[Event]], bool] = self._observers.wants
        self.wants_server_run = self._observers.wants_server_run
        self.blocking = BlockingReports(self.timing.blocking_report_interval, self.publish)
        self._paused = False
        self._tubes: dict[str, TubeSlots] = {}  # those that take jobs
        self._all: set[TubeSlots] = set()  # and those that only finish theirs
        self._discovered: set[str] = set()  # tubes that only EVERY_TUBE has brought
        self._scan: TubeScan | None = None  # while every tube is wanted
        self._kill_timer: asyncio.TimerHandle | None = None
        self._first_client: Client | Pool | None = None  # while the server is looked for
        self._over: asyncio.Event | None = None  # no slot is left, and none will be started

    # --- called by the slots ---

    def take(self) -> bool:
        """Return whether one more job may be run, and count that job."""
        if self._jobs_left is None:
            return True
        if self._jobs_left == 0:
            return False
        self._jobs_left -= 1
        if self._jobs_left == 0:
            # The job that is taken by this call still runs.
            self._go_to(Stage.DRAINING)
        return True

    # --- questions ---

    @property
    def has_running_slots(self) -> bool:
        """Whether jobs still run after `run` has returned, because they cannot be cancelled."""
        return bool(self._all)

    def runs_in_process(self) -> bool:
        """Return whether code of jobs runs in this process."""
        return any(slots.handler.in_process for slots in self._all)

    # --- control ---

    def stop(self) -> None:
        """Take no new job, finish those that run, and end.

        Called again, stop the handlers that run, and release their jobs; called a third time, do
        not wait for the handlers.
        """
        self._go_to(Stage(min(self.stage + 1, Stage.KILLING)))

    def _go_to(self, stage: Stage) -> None:
        if stage <= self.stage:
            return
        self.stage = stage
        self.publish(RunnerStopping(stage.name.lower(), len(self.running)))
        for slot in self._slots():
            if stage is Stage.DRAINING:
                slot.drain()
            elif stage is Stage.STOPPING:
                slot.stop()
            else:
                slot.kill()
        if self._first_client is not None:
            self._first_client.close()
        if self._scan is not None:
            self._scan.cancel()
        if stage is Stage.KILLING and self._over is not None:
            # A coroutine that cannot be cancelled must not keep the process.
            loop = asyncio.get_running_loop()
            self._kill_timer = loop.call_later(self.timing.kill_timeout, self._over.set)
        self._check_over()

    def pause(self) -> None:
        """Reserve no jobs until `resume` is called; those that run are finished."""
        self._paused = True
        self.publish(RunnerPaused(len(self.running)))
        for slot in self._slots():
            slot.pause()

    def resume(self) -> None:
        """Reserve jobs again."""
        self._paused = False
        self.publish(RunnerResumed())
        for slot in self._slots():
            slot.resume()

    def reload(self) -> None:
        """Read the settings again, and work by them. If they are wrong, keep the old ones."""
        if self._reread is None or self.stage is not Stage.RUNNING:
            self.publish(ReloadRefused())
            return
        self.publish(ReloadStarted())
        try:
            settings = self._reread()
            handlers = _make_handlers(settings)
        except ConfigError as error:
            self.publish(ReloadFailed(error.problems, "the configuration is wrong"))
        except CannotStart as error:
            self.publish(ReloadFailed((), str(error)))
        else:
            self._apply(settings, handlers)
            self.publish(ReloadFinished(len(self._tubes)))

    def _slots(self) -> list[Slot]:
        return [slot for slots in self._all for slot in (*slots.slots, *slots.stranded)]

    # --- running ---

    async def run(self) -> None:
        """Run jobs until the end.

        Raises ConnectionLost if no server can be reached at first, and CannotStart if a handler
        can run no job.
        """
        if self.stage > Stage.RUNNING:  # it was stopped already
            return
        self._over = asyncio.Event()
        try:
            handlers = _make_handlers(self._settings)
            self.publish(RunnerStarting(self.server, self._settings.server_place))
            try:
                await self._find_server()
            except ConnectionLost:
                if self.stage is Stage.RUNNING:
                    raise
            if self.stage is Stage.RUNNING:  # else it was stopped meanwhile
                await self._run(handlers)
        finally:
            timeout = 0.0 if self.stage is Stage.KILLING else self.timing.observer_timeout
            await self._observers.close(timeout)

    async def _run(self, handlers: dict[str, Handler]) -> None:
        self._apply(self._settings, handlers)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._announce())]
        if self.burst is not None:
            tasks.append(loop.create_task(self._wait_for_burst(self.burst)))
        try:
            await self._wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._scan is not None:
                await self._scan.close()
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            self.publish(RunnerStopped(len(self.running)))

    async def _find_server(self) -> None:
        """Connect once, and list the tubes if every tube is wanted."""
        client = client_for(self.server, connect_timeout=self._connect_timeout)
        self._first_client = client
        try:
            await client.connect()
            if self._every_tube() is not None:
                self._discovered = set(await client.list_tubes())
        finally:
            self._first_client = None
            await client.close()

    async def _wait(self) -> None:
        assert self._over is not None
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            # A program that runs a Worker in a task cancels that task: the jobs are released.
            self._go_to(Stage.STOPPING)
            await self._over.wait()
            raise

    async def _announce(self) -> None:
        await asyncio.gather(*(slots.wait_ready() for slots in self._all))
        if self.stage is Stage.RUNNING:
            self.publish(RunnerReady(called(self.server), len(self._tubes), len(self._slots())))

    async def _wait_for_burst(self, burst: Burst) -> None:
        await burst.over.wait()
        self._go_to(Stage.DRAINING)

    def _check_over(self) -> None:
        if self._over is not None and not self._all and self.stage is not Stage.RUNNING:
            self._over.set()

    # --- tubes ---

    def _apply(self, settings: Settings, handlers: dict[str, Handler]) -> None:
        """Start and retire slots until they are those that the settings say."""
        moved = changed = settings.server != self.server
        if changed and not names_one(self.server) and not names_one(settings.server):
            moved = False  # the slots stay, and what they have running
        self._settings = settings
        self.server = settings.server
        wanted = self._wanted_tubes()
        for name, slots in list(self._tubes.items()):
            if moved or wanted.get(name) != slots.settings:
                self._retire(name)
            elif changed:
                self.publish(TubeRetired(slots.server, name))
                slots.set_servers(settings.server)
                self._report_started(slots)
        for name, tube in wanted.items():
            if name not in self._tubes:
                self._start(tube, handlers.get(name))
        self._set_scan(changed)
        if self.burst is not None and not wanted:
            self._go_to(Stage.DRAINING)

    def _wanted_tubes(self) -> dict[str, TubeSettings]:
        tubes = self._settings.tubes
        wanted = {tube.tube: tube for tube in tubes if tube.tube != EVERY_TUBE}
        every = self._every_tube()
        self._discovered = {
            name
            for name in self._discovered
            if every is not None and name not in wanted and not _excluded(every, name)
        }
        if every is not None:
            wanted.update((name, replace(every, tube=name)) for name in self._discovered)
        return wanted

    def _start(self, settings: TubeSettings, handler: Handler | None = None) -> None:
        old = [slots for slots in self._all if slots.tube == settings.tube]
        after = [task for slots in old for task in slots.tasks]
        if handler is None:
            handler = settings.make_handler()
        slots = TubeSlots(self, self.server, settings, handler, after)
        self._tubes[settings.tube] = slots
        self._all.add(slots)
        slots.ended.add_done_callback(lambda _: self._remove(slots))
        if self._paused:
            for slot in slots.slots:
                slot.pause()
        self._report_started(slots)

    def _report_started(self, slots: TubeSlots) -> None:
        settings = slots.settings
        self.publish(
            TubeStarted(
                slots.server,
                settings.tube,
                settings.workers,
                slots.handler.describe(),
                settings.describe_policy(),
                urls_of(self.server),
            )
        )

    def _retire(self, name: str) -> None:
        slots = self._tubes.pop(name)
        for slot in slots.slots:
            slot.drain()
        self.publish(TubeRetired(slots.server, name))

    def _remove(self, slots: TubeSlots) -> None:
        self._all.discard(slots)
        self._check_over()

    # --- every tube ---

    def _every_tube(self) -> TubeSettings | None:
        return next((tube for tube in self._settings.tubes if tube.tube == EVERY_TUBE), None)

    def _set_scan(self, changed: bool) -> None:
        wanted = self._every_tube() is not None
        if self._scan is not None and (changed or not wanted):
            self._scan.cancel()
            self._scan = None
        if self._scan is None and wanted:
            self._scan = TubeScan(
                self.server, self._discovered_watchers, self._adopt, self.publish, self.timing
            )

    def _discovered_watchers(self) -> dict[str, int]:
        """Return the tubes that were discovered, with their numbers of connections."""
        discovered = self._discovered & self._tubes.keys()
        return {name: self._tubes[name].connections for name in discovered}

    def _adopt(self, names: list[str], unused: set[str]) -> None:
        """Start slots for tubes that are new, and retire those of tubes that are not used."""
        every = self._every_tube()
        if every is None or self.stage is not Stage.RUNNING or self._paused:
            return
        for name in names:
            if name not in self._tubes and not _excluded(every, name):
                self._discovered.add(name)
                self._start(replace(every, tube=name))
        for name in unused & self._discovered:
            self._discovered.discard(name)
            self._retire(name)


def _make_handlers(settings: Settings) -> dict[str, Handler]:
    """Return the handler of each tube, after checking it. Raises CannotStart."""
    handlers = {tube.tube: tube.make_handler() for tube in settings.tubes}
    for name, handler in handlers.items():
        try:
            handler.check()
        except CannotStart as error:
            raise CannotStart(f"tube {name}: {error}") from None
    return handlers


def _excluded(every: TubeSettings, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in every.exclude)
