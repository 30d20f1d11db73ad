"""A handler at work on a job: whatever it raises, there is an outcome, and the loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from beanstalkt.dispatch import Stopped
from beanstalkt.worker import WorkerJob
from beanstalkt.worker.attempt import Attempt
from beanstalkt.worker.handlers.coroutine import CoroutineHandler
from beanstalkt.worker.policy.outcome import SUCCESS, Kind

from ..support.functions import Hopeless, Panic
from ..support.work import make_work

REPEAT_DELAY = 0.05

EVERY = [Panic, Hopeless, GeneratorExit, Stopped, asyncio.CancelledError, KeyboardInterrupt]
EVERY += [SystemExit, ValueError]


def attempt(function: Callable[[WorkerJob], Awaitable[object]]) -> Attempt:
    return Attempt(CoroutineHandler(function), make_work(), REPEAT_DELAY)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", EVERY)
async def test_whatever_is_raised_is_an_unknown_fail(
    kind: type[BaseException], late: bool
) -> None:
    async def function(work: WorkerJob) -> None:
        if late:
            await asyncio.sleep(0.01)
        raise kind

    outcome = await attempt(function).wait()
    assert outcome.kind is Kind.UNKNOWN_FAIL
    assert outcome.details["exception"] == kind.__qualname__
    assert "in function" in str(outcome.details["backtrace"])


async def test_what_is_no_coroutine_function_fails() -> None:
    def wrong(work: WorkerJob) -> Any:
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
    running.stop(Kind.STOPPED)
    outcome = running.judge(await running.wait())
    assert (outcome.kind, outcome.error) == (Kind.STOPPED, "")
    assert outcome.details == {"handler": "unknown-fail"}


async def test_a_handler_may_go_on_after_a_cancel() -> None:
    async def function(work: WorkerJob) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)

    running = attempt(function)
    await asyncio.sleep(0)
    running.stop(Kind.TIMEOUT)
    assert await running.wait() is SUCCESS


async def test_somebody_else_cancels_its_task() -> None:
    running = attempt(lambda _: asyncio.sleep(100))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    outcome = await running.wait()
    assert outcome.error == "it was cancelled"
    assert running.judge(outcome).kind is Kind.UNKNOWN_FAIL
    # The program then cancels the task of the slot too, which stops an attempt that has ended.
    running.stop(Kind.STOPPED)
    assert running.judge(outcome).kind is Kind.STOPPED


async def test_the_first_reason_counts_unless_the_job_is_lost_later() -> None:
    go_on = asyncio.Event()

    async def function(work: WorkerJob) -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()
        raise ValueError("late")

    for later, expected in ((None, Kind.TIMEOUT), ("lose", Kind.LOST), ("stop", Kind.LOST)):
        go_on.clear()
        running = attempt(function)
        await asyncio.sleep(0)
        running.stop(Kind.TIMEOUT)
        running.stop(Kind.STOPPED)
        assert running.stopping
        if later == "lose":
            running.lose()
        elif later == "stop":
            running.stop(Kind.LOST)
        go_on.set()
        outcome = running.judge(await running.wait())
        assert (outcome.kind, outcome.error) == (expected, "late")
        assert outcome.details["handler"] == "unknown-fail"


async def test_a_success_stays_one_after_a_stop_but_not_for_a_lost_job() -> None:
    for reason in (Kind.STOPPED, Kind.TIMEOUT, Kind.LOST):

        async def function(work: WorkerJob) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(100)

        running = attempt(function)
        await asyncio.sleep(0)
        running.stop(reason)
        kind = running.judge(await running.wait()).kind
        assert kind is (Kind.LOST if reason is Kind.LOST else Kind.SUCCESS)


async def test_a_handler_that_goes_on_is_cancelled_again_until_it_ends() -> None:
    cancels = 0

    async def function(work: WorkerJob) -> None:
        nonlocal cancels
        while cancels < 3:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancels += 1

    running = attempt(function)
    await asyncio.sleep(0)
    running.stop(Kind.TIMEOUT)
    assert (await asyncio.wait_for(running.wait(), 20)).kind is Kind.SUCCESS
    assert cancels == 3
    # Nothing cancels it once it has ended.
    running.stop(Kind.STOPPED)
    assert running.judge(await running.wait()) is SUCCESS
