"""A handler at work on a job: whatever it raises, there is an outcome, and the loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from beanstalkt.dispatch import Stopped
from beanstalkt.worker.attempt import Attempt
from beanstalkt.worker.handlers.base import Work
from beanstalkt.worker.handlers.coroutine import CoroutineHandler
from beanstalkt.worker.policy.outcome import SUCCESS, Kind

from ..support.functions import Hopeless, Panic
from ..support.work import make_work

EVERY = [Panic, Hopeless, GeneratorExit, Stopped, asyncio.CancelledError, KeyboardInterrupt]
EVERY += [SystemExit, ValueError]


def attempt(function: Callable[[Work], Awaitable[object]]) -> Attempt:
    return Attempt(CoroutineHandler(function), make_work())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", EVERY)
async def test_whatever_is_raised_is_an_unknown_fail(
    kind: type[BaseException], late: bool
) -> None:
    async def function(work: Work) -> None:
        if late:
            await asyncio.sleep(0.01)
        raise kind

    outcome = await attempt(function).wait()
    assert outcome.kind is Kind.UNKNOWN_FAIL
    assert outcome.details["exception"] == kind.__qualname__
    assert "in function" in str(outcome.details["backtrace"])


async def test_what_is_no_coroutine_function_fails() -> None:
    def wrong(work: Work) -> Any:
        return 7

    assert (await attempt(wrong).wait()).kind is Kind.UNKNOWN_FAIL


async def test_to_cancel_the_waiting_ends_only_that() -> None:
    go_on = asyncio.Event()
    running = attempt(lambda _: go_on.wait())
    for _ in range(2):
        running.wait().cancel()
        await asyncio.sleep(0)
    assert not running.wait().done()
    running.wait().cancel()
    go_on.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await running.wait() is SUCCESS
    assert await running.wait() is SUCCESS


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_cancel_at_any_time_leads_to_an_outcome(turns: int) -> None:
    running = attempt(lambda _: asyncio.sleep(100))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    outcome = await running.wait()
    assert (outcome.kind, outcome.error) == (Kind.UNKNOWN_FAIL, "")


async def test_a_handler_may_go_on_after_a_cancel() -> None:
    async def function(work: Work) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)

    running = attempt(function)
    await asyncio.sleep(0)
    running.cancel()
    assert await running.wait() is SUCCESS


async def test_somebody_else_cancels_its_task() -> None:
    running = attempt(lambda _: asyncio.sleep(100))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert (await running.wait()).error == "it was cancelled"
