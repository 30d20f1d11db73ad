"""A slot: reserves, rests, pauses and ends as it is told; without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beanstalkt.errors import DeadlineSoon, TimedOut
from beanstalkt.worker import slot as module
from beanstalkt.worker.burst import Burst
from beanstalkt.worker.config.settings import TubeSettings
from beanstalkt.worker.events import HandlerUnavailable, JobFinished
from beanstalkt.worker.handlers.base import CannotStart, WorkerJob
from beanstalkt.worker.policy.outcome import SUCCESS, Kind, Outcome
from beanstalkt.worker.slot import Slot

from ..support.do_handler import Do, DoHandler, succeed
from ..support.running import until
from ..support.scripted import SERVER, Context, ScriptedClient, lost, reserved


class Clients:
    """Makes the clients of a slot, all of them with the same script."""

    def __init__(self) -> None:
        self.client = ScriptedClient()
        self.made: list[str] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.client.defaults["reserve"] = self._wait

    def _wait(self) -> asyncio.Future[Any]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def from_url(self, url: str, **_: Any) -> ScriptedClient:
        self.made.append(url)
        return self.client

    def close(self) -> asyncio.Future[None]:
        """As a client does: what waits fails."""
        for future in self.waiting:
            if not future.done():
                future.set_exception(lost())
        self.client.closed += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def until(self, verb: str, count: int = 1) -> None:
        await until(lambda: self.client.verbs().count(verb) >= count, verb)
        await asyncio.sleep(0)  # by now what the call waits for is among those that `close` fails


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients()
    monkeypatch.setattr(made.client, "close", made.close)
    monkeypatch.setattr(module, "Client", made)
    return made


def make(context: Context, do: Do = succeed, tube: str = "mail") -> Slot:
    return Slot(context, SERVER, 1, TubeSettings(tube, DoHandler, timeout=50), DoHandler(do))


@asynccontextmanager
async def working(slot: Slot) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(slot.run())
    try:
        yield task
    finally:
        slot.stop()
        await asyncio.wait_for(task, 20)
        assert slot.ready.done()


async def test_it_watches_its_tube_alone_and_waits(clients: Clients) -> None:
    slot = make(Context())
    async with working(slot):
        await clients.until("reserve")
        assert clients.client.calls == [
            ("connect",),
            ("watch", "mail"),
            ("ignore", "default"),
            ("reserve",),
        ]
        assert clients.made == [SERVER]
        assert slot.ready.done()


async def test_the_default_tube_is_not_ignored(clients: Clients) -> None:
    async with working(make(Context(), tube="default")):
        await clients.until("reserve")
        assert "ignore" not in clients.client.verbs()


async def test_a_pause_ends_the_reserve_and_resume_connects_again(clients: Clients) -> None:
    slot = make(Context())
    async with working(slot):
        await clients.until("reserve")
        slot.pause()
        await until(lambda: clients.client.closed >= 2)
        await asyncio.sleep(0.05)
        assert clients.client.verbs().count("reserve") == 1
        slot.resume()
        await clients.until("reserve", 2)
        assert len(clients.made) == 2


async def test_a_slot_that_works_is_drained_after_its_job(clients: Clients) -> None:
    go_on = asyncio.Event()

    async def wait(work: WorkerJob) -> Outcome:
        await go_on.wait()
        return SUCCESS

    context = Context()
    clients.client.script("reserve", reserved())
    slot = make(context, wait)
    async with working(slot) as task:
        await until(lambda: bool(context.running))
        slot.drain()
        assert slot.ending
        # The connection that holds the job stays.
        assert not clients.client.closed
        go_on.set()
        await asyncio.wait_for(task, 20)
    assert context.find(JobFinished)[0].outcome is Kind.SUCCESS
    # It reserved nothing with the delete.
    assert clients.client.verbs().count("reserve") == 1


async def test_kill_cancels_a_handler_that_is_stopping_once_more(clients: Clients) -> None:
    cancels = 0

    async def resist(work: WorkerJob) -> Outcome:
        nonlocal cancels
        while cancels < 2:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancels += 1
        return Outcome(Kind.UNKNOWN_FAIL)

    context = Context()
    clients.client.script("reserve", reserved())
    slot = make(context, resist)
    task = asyncio.get_running_loop().create_task(slot.run())
    await until(lambda: bool(context.running))
    await asyncio.sleep(0)
    slot.stop()
    await until(lambda: cancels == 1)
    # Long before a handler that goes on would be cancelled again.
    slot.kill()
    await asyncio.wait_for(task, 3)
    assert cancels == 2
    assert context.find(JobFinished)[0].outcome is Kind.STOPPED


async def test_it_rests_where_the_server_would_answer_at_once_for_ever(clients: Clients) -> None:
    clients.client.defaults["reserve"] = lambda: DeadlineSoon()
    async with working(make(Context())):
        await clients.until("reserve", 2)
        assert clients.client.verbs().count("reserve") < 50


async def test_a_connection_that_was_lost_is_waited_for(clients: Clients) -> None:
    clients.client.script("reserve", lost(), lost())
    async with working(make(Context())):
        await clients.until("reserve", 3)
        assert clients.client.verbs().count("connect") == 3
        assert len(clients.made) == 1


async def test_nothing_is_reserved_while_the_handler_cannot_start(clients: Clients) -> None:
    able = False

    class Unable(DoHandler):
        def check(self) -> None:
            if not able:
                raise CannotStart("no such command")

    async def fail(work: WorkerJob) -> Outcome:
        return Outcome(Kind.NOT_STARTED, error="no such command")

    context = Context()
    clients.client.script("reserve", reserved())
    slot = Slot(context, SERVER, 1, TubeSettings("mail", Unable), Unable(fail))
    async with working(slot):
        await until(lambda: len(context.find(HandlerUnavailable)) >= 2)
        assert clients.client.verbs().count("reserve") == 1
        assert "no such command" in str(context.find(HandlerUnavailable)[0].error)
        able = True
        await clients.until("reserve", 2)


async def test_in_a_burst_it_asks_without_waiting_and_says_what_it_found(
    clients: Clients,
) -> None:
    context = Context()
    context.burst = Burst(1000)
    clients.client.script("reserve", reserved())
    clients.client.defaults["reserve"] = lambda: TimedOut()
    slot = make(context)
    async with working(slot):
        await asyncio.wait_for(context.burst.over.wait(), 20)
        reserves = [call for call in clients.client.calls if call[0] == "reserve"]
        assert set(reserves) == {("reserve", 0)}
        assert len(context.find(JobFinished)) == 1


async def test_a_slot_that_was_cancelled_can_be_run_again(clients: Clients) -> None:
    slot = make(Context())
    task = asyncio.get_running_loop().create_task(slot.run())
    await clients.until("reserve")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with working(slot):
        await clients.until("reserve", 2)
