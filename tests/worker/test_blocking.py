"""Code of jobs that blocks the loop: noticed, named, and reported now and then."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from beanstalkt import Client
from beanstalkt.worker import Worker, WorkerJob
from beanstalkt.worker.blocking import BlockingReports, watch_steps
from beanstalkt.worker.events import Event, LoopBlocked
from beanstalkt.worker.timing import WorkerTiming

from ..support.beanstalkd import Beanstalkd
from ..support.running import Events


def blocked(tube: str, seconds: float = 1.0) -> LoopBlocked:
    return LoopBlocked("beanstalk://x", tube, 7, "a function", seconds, 3)


# --- the steps of a coroutine ----------------------------------------------------------------


@pytest.mark.parametrize("where", ["first", "later", "last", "cancelled"])
async def test_the_step_that_blocks_is_measured(where: str) -> None:
    async def job() -> int:
        if where == "first":
            time.sleep(0.2)
        await asyncio.sleep(0)
        if where == "later":
            time.sleep(0.2)
        try:
            await asyncio.sleep(10 if where == "cancelled" else 0)
        except asyncio.CancelledError:
            time.sleep(0.2)
        if where == "last":
            time.sleep(0.2)
        return 7

    seen: list[float] = []

    async def main() -> int:
        return await watch_steps(job(), 0.15, seen.append)

    task = asyncio.ensure_future(main())
    await asyncio.sleep(0.01)
    if where == "cancelled":
        task.cancel()
    assert await task == 7
    assert len(seen) == 1
    assert seen[0] >= 0.2


async def test_waiting_is_no_blocking() -> None:
    async def job() -> None:
        for _ in range(20):
            await asyncio.sleep(0.05)
            sum(range(1000))

    seen: list[float] = []
    await watch_steps(job(), 0.5, seen.append)
    assert not seen


async def test_an_exception_passes_through_and_leaves_no_cycle() -> None:
    class Wrong(Exception):
        pass

    async def job() -> None:
        await asyncio.sleep(100)

    async def main() -> None:
        await watch_steps(job(), 60, print)

    running = main()
    running.send(None)
    gc.disable()
    try:
        try:
            running.throw(Wrong())
        except Wrong as error:
            kept = weakref.ref(error)
        assert kept() is None
    finally:
        gc.enable()


async def test_a_coroutine_that_is_dropped_is_closed() -> None:
    closed: list[str] = []

    async def job() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            closed.append("job")

    async def main() -> None:
        await watch_steps(job(), 60, print)

    running = main()
    running.send(None)
    running.close()
    assert closed == ["job"]


# --- reports ---------------------------------------------------------------------------------


def test_a_tube_is_reported_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    published: list[Event] = []
    reports = BlockingReports(60, published.append)
    expected = [blocked("a"), blocked("b"), blocked("a", 4.0)]
    reports.report(expected[0])
    reports.report(blocked("a", 2.0))
    reports.report(expected[1])
    now += 59.9
    reports.report(blocked("a", 3.0))
    now += 0.1
    reports.report(expected[2])
    assert published == expected


# --- in a worker -----------------------------------------------------------------------------


async def run(
    server: Beanstalkd,
    handler: Callable[[WorkerJob], Awaitable[object]],
    jobs: int,
    ttr: int,
    interval: float = 60.0,
    concurrency: int = 3,
) -> list[LoopBlocked]:
    """Run that many jobs of a tube; return what was reported."""
    seen: list[LoopBlocked] = []

    def observer(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            seen.append(event)

    async with Client.from_url(server.url) as client:
        await client.put_many([b"%d" % number for number in range(jobs)], ttr=ttr, tube="mail")
    timing = WorkerTiming(blocking_report_interval=interval)
    worker = Worker(
        server.url,
        "mail",
        handler,
        concurrency=concurrency,
        burst=True,
        observers=[observer],
        timing=timing,
    )
    await worker.run(signals=False)
    return seen


async def test_a_handler_that_blocks_is_named(beanstalkd: Beanstalkd) -> None:
    guilty: list[int] = []

    async def handler(job: WorkerJob) -> None:
        await asyncio.sleep(0.01)
        if job.body == b"1":
            guilty.append(job.id)
            time.sleep(0.5)

    with Events() as events:
        (event,) = await run(beanstalkd, handler, 3, ttr=1)
    assert event.seconds >= 0.5
    assert replace(event, seconds=0.5) == LoopBlocked(
        event.server, "mail", guilty[0], f"function {__name__}.{handler.__qualname__}", 0.5, 1
    )
    (line,) = events.find("blocked")
    assert (line["tube"], line["id"], line["handler"]) == ("mail", event.id, event.handler)


async def test_short_jobs_are_not_named(beanstalkd: Beanstalkd) -> None:
    async def handler(job: WorkerJob) -> None:
        time.sleep(0.01)
        await asyncio.sleep(0)
        time.sleep(0.01)

    assert not await run(beanstalkd, handler, 20, ttr=60)


@pytest.mark.parametrize(("interval", "expected"), [(60.0, 1), (0.001, 3)])
async def test_a_tube_is_named_once_in_the_interval_of_the_timing(
    beanstalkd: Beanstalkd, interval: float, expected: int
) -> None:
    async def handler(job: WorkerJob) -> None:
        time.sleep(0.4)

    assert len(await run(beanstalkd, handler, 3, 1, interval, concurrency=1)) == expected
