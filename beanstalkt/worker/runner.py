"""The runner: the pools of all tubes, and what they are told together."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from ..client.client import Client
from ..errors import BeanstalkException, ConnectionLost
from .burst import Burst
from .config.settings import EVERY_TUBE, ConfigError, Settings, TubeSettings
from .handlers.base import CannotStart, Handler
from .held_job import Reservation
from .log.lines import log, tell
from .log.systemd import notify, reloading
from .policy.outcome import Outcome
from .pool import Pool
from .process.command_guard import guarded
from .slot import MAX_RECONNECT_DELAY, Slot

LOOK = 5.0
"""Seconds between two looks for tubes that have appeared or are no longer used."""

LAST_WAIT = 3.0
"""Seconds that slots may take to end after they were killed."""


class Stage(enum.IntEnum):
    """How far stopping has come."""

    RUNNING = 0
    DRAINING = 1  # no new job, what runs is finished
    STOPPING = 2  # what runs is stopped
    KILLING = 3


class Runner:
    """Runs jobs until it is stopped, or has done what it was to do.

    :param burst: end when nothing is ready
    :param max_jobs: end after that many jobs; None: no limit
    :param connect_timeout: seconds for the first connection; None: for ever
    :param reread: makes the settings anew, for a reload; raises ConfigError
    :param on_ended: called with the outcome of each job
    """

    def __init__(
        self,
        settings: Settings,
        *,
        burst: bool = False,
        max_jobs: int | None = None,
        connect_timeout: float | None = None,
        reread: Callable[[], Settings] | None = None,
        on_ended: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.server = settings.server
        self.running: dict[int, Reservation] = {}
        self.burst = Burst() if burst else None
        self.stage = Stage.RUNNING
        self._settings = settings
        self._left = max_jobs
        self._connect_timeout = connect_timeout
        self._reread = reread
        self._on_ended = on_ended
        self._paused = False
        self._pools: dict[str, Pool] = {}  # those that take jobs
        self._all: set[Pool] = set()  # and those that only finish theirs
        self._discovered: set[str] = set()  # tubes that only EVERY_TUBE has brought
        self._watcher: asyncio.Task[None] | None = None  # looks for new tubes
        self._last: asyncio.TimerHandle | None = None
        self._first: Client | None = None  # while it looks for the server
        self._over: asyncio.Event | None = None  # no pool is left, and none will come

    # --- what a slot asks ---

    def take(self) -> bool:
        """Whether one more job may be run."""
        if self._left is None:
            return True
        if self._left == 0:
            return False
        self._left -= 1
        if self._left == 0:
            # The job that is just being taken runs; whoever asks next gets a no.
            self._go_to(Stage.DRAINING)
        return True

    def ended(self, outcome: Outcome) -> None:
        """A job has ended."""
        if self._on_ended is not None:
            self._on_ended(outcome)

    @property
    def left(self) -> bool:
        """Whether jobs still run, after the end: their handlers would not be stopped."""
        return bool(self._all)

    def in_process(self) -> bool:
        """Whether code of jobs runs in this process."""
        return any(pool.handler.in_process for pool in self._all)

    # --- what it is told ---

    def stop(self) -> None:
        """The first time: finish what runs, and end. The second: stop what runs, and release
        those jobs. The third: kill it."""
        self._go_to(Stage(min(self.stage + 1, Stage.KILLING)))

    def _go_to(self, stage: Stage) -> None:
        if stage <= self.stage:
            return
        self.stage = stage
        notify("STOPPING=1")
        tell("stopping", {"how": stage.name.lower(), "running": len(self.running)})
        for slot in self._slots():
            if stage is Stage.DRAINING:
                slot.drain()
            elif stage is Stage.STOPPING:
                slot.stop()
            else:
                slot.kill()
        if self._first is not None:
            self._first.close()
        if stage is Stage.KILLING and self._over is not None:
            # A coroutine that cannot be cancelled must not keep the process.
            loop = asyncio.get_running_loop()
            self._last = loop.call_later(LAST_WAIT, self._over.set)
        self._check_over()

    def pause(self) -> None:
        """Reserve nothing; what runs is finished."""
        self._paused = True
        tell("paused", {"running": len(self.running)})
        for slot in self._slots():
            slot.pause()

    def resume(self) -> None:
        """Reserve again."""
        self._paused = False
        tell("resumed", {})
        for slot in self._slots():
            slot.resume()

    def reload(self) -> None:
        """Read the settings again; wrong ones are reported, and the old ones kept."""
        if self._reread is None or self.stage is not Stage.RUNNING:
            log.warning("there is no configuration file to read again")
            return
        reloading()
        try:
            settings = self._reread()
            made = _make(settings)
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)
            log.error("the configuration is wrong; the old one is kept")
        except CannotStart as error:
            log.error("%s; the old configuration is kept", error)
        else:
            self._apply(settings, made)
            tell("reloaded", {"tubes": len(self._pools)})
        notify("READY=1")

    def _slots(self) -> list[Slot]:
        return [slot for pool in self._all for slot in pool.slots]

    # --- its life ---

    async def run(self) -> None:
        """Until all is over. Raises ConnectionLost when there is no server at the beginning,
        and CannotStart when a handler cannot run any job."""
        self._over = asyncio.Event()
        made = _make(self._settings)
        try:
            await self._first_look()
        except ConnectionLost:
            if self.stage is Stage.RUNNING:
                raise
        if self.stage is not Stage.RUNNING:  # by a signal, meanwhile
            return
        async with guarded():
            await self._run(made)

    async def _run(self, made: dict[str, Handler]) -> None:
        self._apply(self._settings, made)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._announce())]
        if self.burst is not None:
            tasks.append(loop.create_task(self._wait_for_burst(self.burst)))
        try:
            await self._wait()
        finally:
            if self._watcher is not None:
                tasks.append(self._watcher)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._last is not None:
                self._last.cancel()

    async def _first_look(self) -> None:
        """Whether there is a server; and, where all tubes are wanted, which there are."""
        client = Client.from_url(self.server, connect_timeout=self._connect_timeout)
        self._first = client
        try:
            await client.connect()
            if self._every() is not None:
                self._discovered = set(await client.list_tubes())
        finally:
            self._first = None
            await client.close()

    async def _wait(self) -> None:
        assert self._over is not None
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            # Whoever runs a Worker in a task cancels that: its jobs are released, not lost.
            self._go_to(Stage.STOPPING)
            await self._over.wait()
            raise

    async def _announce(self) -> None:
        await asyncio.gather(*(pool.ready() for pool in self._all))
        if self.stage is Stage.RUNNING:
            notify("READY=1", f"STATUS=working on {len(self._pools)} tubes")
            tell(
                "ready",
                {
                    "server": self.server,
                    "tubes": len(self._pools),
                    "slots": len(self._slots()),
                },
            )

    async def _wait_for_burst(self, burst: Burst) -> None:
        await burst.over.wait()
        self._go_to(Stage.DRAINING)

    def _check_over(self) -> None:
        if self._over is not None and not self._all and self.stage is not Stage.RUNNING:
            self._over.set()

    # --- pools ---

    def _apply(self, settings: Settings, made: dict[str, Handler]) -> None:
        """Have the pools that these settings want, and no others."""
        moved = settings.server != self.server
        self._settings = settings
        self.server = settings.server
        wanted = {tube.tube: tube for tube in settings.tubes if tube.tube != EVERY_TUBE}
        every = self._every()
        self._discovered = {
            name
            for name in self._discovered
            if every is not None and name not in wanted and not _excluded(every, name)
        }
        if every is not None:
            wanted.update((name, replace(every, tube=name)) for name in self._discovered)
        for name, pool in list(self._pools.items()):
            if moved or wanted.get(name) != pool.settings:
                self._retire(name)
        for name, tube in wanted.items():
            if name not in self._pools:
                self._start(tube, made.get(name))
        if self._watcher is not None and (moved or every is None):
            self._watcher.cancel()
            self._watcher = None
        if self._watcher is None and every is not None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())
        if self.burst is not None and not wanted:
            self._go_to(Stage.DRAINING)

    def _start(self, settings: TubeSettings, handler: Handler | None = None) -> None:
        old = [pool for pool in self._all if pool.tube == settings.tube]
        after = [task for pool in old for task in pool.tasks]
        if handler is None:
            handler = settings.make_handler()
        pool = Pool(self, settings.tube, settings, handler, after)
        self._pools[settings.tube] = pool
        self._all.add(pool)
        pool.ended.add_done_callback(lambda _: self._ended(pool))
        if self._paused:
            for slot in pool.slots:
                slot.pause()
        fields = {"tube": settings.tube, "workers": settings.workers}
        tell("tube", {**fields, "handler": handler.describe(), **settings.describe_policy()})

    def _retire(self, name: str) -> None:
        for slot in self._pools.pop(name).slots:
            slot.drain()

    def _ended(self, pool: Pool) -> None:
        self._all.discard(pool)
        self._check_over()

    # --- all tubes ---

    def _every(self) -> TubeSettings | None:
        return next((tube for tube in self._settings.tubes if tube.tube == EVERY_TUBE), None)

    async def _watch(self) -> None:
        """Looks for new tubes. That is the one thing that polls: no server tells of a tube."""
        client = Client.from_url(
            self.server, connect_timeout=None, max_reconnect_delay=MAX_RECONNECT_DELAY
        )
        unused: set[str] = set()  # at the last look
        try:
            while self.stage is Stage.RUNNING:
                await asyncio.sleep(LOOK)
                try:
                    await client.connect()
                    unused = await self._look(client, unused)
                except BeanstalkException as error:
                    log.debug("cannot look for tubes: %s", error)
                except Exception:
                    # No look may be the last one.
                    log.exception("cannot look for tubes")
        finally:
            await client.close()

    async def _look(self, client: Client, unused: set[str]) -> set[str]:
        """Starts a pool for each new tube, and ends those of tubes that only we use, and did
        at the last look; gives those that only we use now."""
        names = await client.list_tubes()
        now: set[str] = set()
        for name in self._discovered & self._pools.keys():
            stats: Mapping[str, object] = await client.stats_tube(name)
            only_we = stats["current-watching"] == len(self._pools[name].slots)
            if only_we and not any(stats[key] for key in _IN_USE):
                now.add(name)
        every = self._every()
        if every is None or self.stage is not Stage.RUNNING or self._paused:
            return now
        for name in names:
            if name not in self._pools and not _excluded(every, name):
                self._discovered.add(name)
                self._start(replace(every, tube=name))
        for name in now & unused & self._discovered:
            self._discovered.discard(name)
            self._retire(name)
        return now


_IN_USE = (
    "current-using",
    "current-jobs-ready",
    "current-jobs-reserved",
    "current-jobs-delayed",
    "current-jobs-buried",
)


def _make(settings: Settings) -> dict[str, Handler]:
    """The handler of each tube, checked. Raises CannotStart."""
    made = {tube.tube: tube.make_handler() for tube in settings.tubes}
    for name, handler in made.items():
        try:
            handler.check()
        except CannotStart as error:
            raise CannotStart(f"tube {name}: {error}") from None
    return made


def _excluded(every: TubeSettings, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in every.exclude)
