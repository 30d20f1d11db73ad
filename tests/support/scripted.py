"""Parts of a runner that do as a test tells them, without a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, cast

from beanstalkt import Client, ConnectionLost, Job
from beanstalkt.client.timers import LazyTimer
from beanstalkt.protocol.stats import StatsJob
from beanstalkt.worker.blocking import BlockingReports
from beanstalkt.worker.burst import Burst
from beanstalkt.worker.events import Event
from beanstalkt.worker.held_job import HeldJob
from beanstalkt.worker.timing import WorkerTiming

from .work import COUNTERS

SERVER = "beanstalk://one:11300"
OTHER_SERVER = "beanstalk://two:11300"

FAST = WorkerTiming(back_off_delay=0.01, recovery_delay=0.001, kill_timeout=0.1)


def lost(sent: bool = False) -> ConnectionLost:
    return ConnectionLost("gone", sent=sent)


def counters(**changes: Any) -> StatsJob:
    """The statistics of a job that was just reserved for the first time."""
    return cast(StatsJob, {**COUNTERS, "reserves": 1, **changes})


class ScriptedClient:
    """Answers each verb with what was scripted for it, in order; then by `defaults`.

    An answer may be a value, an exception to raise, a Future to wait for, or a function of no
    arguments that returns one of these.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, deque[Any]] = defaultdict(deque)
        #: functions of no arguments, by verb
        self.defaults: dict[str, Callable[[], Any]] = {"stats_job": counters, "list_tubes": list}
        self.closed = 0

    def script(self, verb: str, *answers: Any) -> None:
        self.answers[verb].extend(answers)

    def verbs(self) -> list[str]:
        return [call[0] for call in self.calls]

    def __getattr__(self, verb: str) -> Callable[..., asyncio.Future[Any]]:
        def call(*arguments: Any) -> asyncio.Future[Any]:
            self.calls.append((verb, *arguments))
            return asyncio.ensure_future(self._answer(verb))

        return call

    async def _answer(self, verb: str) -> Any:
        script = self.answers[verb]
        answer = script.popleft() if script else self.defaults.get(verb)
        if callable(answer) and not isinstance(answer, type):
            answer = answer()
        if isinstance(answer, asyncio.Future):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        yield

    def set_reconnect_callback(self, callback: Callable[[], object]) -> None:
        self.reconnected = callback

    def close(self) -> asyncio.Future[None]:
        self.closed += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def typed(self) -> Client:
        return cast(Client, self)


class FakeTimer:
    """A timer that only remembers when it is to call back."""

    def __init__(self) -> None:
        self.when: float | None = None

    def set(self, when: float) -> None:
        self.when = when

    def clear(self) -> None:
        self.when = None

    def typed(self) -> LazyTimer:
        return cast(LazyTimer, self)


class Context:
    """What a slot needs of a runner."""

    def __init__(self, timing: WorkerTiming = FAST, left: int | None = None) -> None:
        self.running: dict[tuple[str, int], HeldJob] = {}
        self.burst: Burst | None = None
        self.timing = timing
        self.events: list[Event] = []
        self.left = left
        self.wants_server_run = False
        self.blocking = BlockingReports(timing.blocking_report_interval, self.publish)

    def take(self) -> bool:
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0

    def wants(self, kind: type[Event]) -> bool:
        return True

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def find(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def reserved(job_id: int = 7, body: bytes = b"x") -> Job:
    return Job(job_id, body)
