"""The runner for a Python program: a coroutine function for each job."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from beanstalkt import Client, ConnectionLost, InvalidArgument, Job, NotFound
from beanstalkt.dispatch import Stopped
from beanstalkt.worker import Reject, Retry, Worker, WorkerJob
from beanstalkt.worker.events import Event, JobEvent, JobFinished, JobStarted
from beanstalkt.worker.job_executor import JobExecutor
from beanstalkt.worker.policy.outcome import Outcome
from beanstalkt.worker.timing import WorkerTiming

from ..support.beanstalkd import Beanstalkd
from ..support.running import TIMING, Events, until


class Panic(BaseException):
    """Such as an extension in another language raises."""


Handle = Callable[[WorkerJob], Awaitable[object]]


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(worker.run())
    try:
        yield task
    finally:
        while not task.done():
            worker.stop()
            await asyncio.wait([task], timeout=3)
    task.result()


async def do(server: Beanstalkd, handler: Handle, **options: Any) -> dict[str, Any]:
    """Do one job; its event, and its stats (``state`` None: it was deleted)."""
    ttr = options.pop("ttr", 100)
    options.setdefault("timing", TIMING)
    worker = Worker(server.url, "mail", handler, **options)
    with Events() as events:
        async with Client.from_url(server.url) as client, working(worker):
            job_id = await client.put(b"body", 7, ttr=ttr, tube="mail")
            event = await events.wait("job")
            try:
                return {**event, **(await client.stats_job(job_id))}
            except NotFound:
                return {**event, "state": None}


async def test_returning_deletes(beanstalkd: Beanstalkd) -> None:
    seen: list[WorkerJob] = []

    async def handler(job: WorkerJob) -> str:
        seen.append(job)
        await asyncio.sleep(0.01)
        return "whatever"

    job = await do(beanstalkd, handler, max_attempts=4)
    assert (job["outcome"], job["state"]) == ("success", None)
    (work,) = seen
    assert (work.id, work["id"], work.body, work["body"]) == (1, 1, b"body", b"body")
    assert (work.tube, work.attempt, work.max_attempts, work.slot) == ("mail", 1, 4, 1)
    assert work.counters["reserves"] == 1
    assert work.server == beanstalkd.url
    assert work.time_limit == pytest.approx(99, abs=1)


@pytest.mark.parametrize(
    ("error", "outcome", "action"),
    [
        (Retry(), "retry", "release:60"),
        (Retry(5), "retry", "release:5"),
        (Retry(delay=0.5), "retry", "release:1"),
        (Reject("no such user"), "reject", "bury"),
        (Reject(), "reject", "bury"),
        (ValueError("no"), "unknown-fail", "bury"),
        (SystemExit(0), "unknown-fail", "bury"),
        (asyncio.CancelledError(), "unknown-fail", "bury"),
        (asyncio.TimeoutError(), "unknown-fail", "bury"),
        (NotFound("another client's"), "unknown-fail", "bury"),
        (Panic(), "unknown-fail", "bury"),
        (KeyboardInterrupt(), "unknown-fail", "bury"),
        (GeneratorExit(), "unknown-fail", "bury"),
        (Stopped(), "unknown-fail", "bury"),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
async def test_raising(
    beanstalkd: Beanstalkd, error: BaseException, outcome: str, action: str
) -> None:
    async def handler(job: WorkerJob) -> None:
        raise error

    job = await do(beanstalkd, handler)
    assert (job["outcome"], job["action"]) == (outcome, action)
    assert job["pri"] == 7


async def test_no_job_harms_the_slots(beanstalkd: Beanstalkd) -> None:
    kinds = [Panic, KeyboardInterrupt, GeneratorExit, Stopped, SystemExit, asyncio.CancelledError]

    async def handler(job: WorkerJob) -> None:
        raise kinds[int(job.body) % len(kinds)]

    async with Client.from_url(beanstalkd.url) as client:
        await client.put_many((str(number) for number in range(30)), tube="mail")
        with Events() as events:
            await Worker(beanstalkd.url, "mail", handler, concurrency=2, burst=True).run()
        assert len(events.find("job", outcome="unknown-fail", action="bury", attempt=1)) == 30
        assert (await client.stats_tube("mail"))["current-jobs-buried"] == 30
        assert not events.find("message")  # no slot was started again


async def test_a_slot_that_dies_is_started_again(
    beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = JobExecutor.run
    deaths = iter([Panic, ValueError, asyncio.CancelledError])

    async def dies(self: JobExecutor, client: Client, job: Job) -> Outcome | None:
        for kind in deaths:
            raise kind
        return await run(self, client, job)

    async def handler(job: WorkerJob) -> None:
        seen.append(job.body)

    seen: list[bytes] = []
    monkeypatch.setattr(JobExecutor, "run", dies)
    timing = WorkerTiming(back_off_delay=0.01)
    async with Client.from_url(beanstalkd.url) as client:
        await client.put_many([b"1", b"2", b"3"], tube="mail")
        with Events() as events:
            await Worker(beanstalkd.url, "mail", handler, burst=True, timing=timing).run()
    # The burst was not over when its only slot was dead.
    assert sorted(seen) == [b"1", b"2", b"3"]
    told = [each["message"] for each in events.find("message")]
    assert [text.split(",")[1] for text in told] == [
        f" slot 1: it has ended by {kind}" for kind in ("Panic", "ValueError", "CancelledError")
    ]
    assert [float(text.split()[-2]) for text in told] == [0.01, 0.02, 0.04]


async def test_a_slot_that_is_cancelled_releases_its_job_and_comes_back(
    beanstalkd: Beanstalkd,
) -> None:
    runs = 0

    async def handler(job: WorkerJob) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            for task in asyncio.all_tasks():
                if "TubeSlots._run" in repr(task.get_coro()):
                    task.cancel()
            await asyncio.sleep(100)

    timing = WorkerTiming(back_off_delay=0.01)
    async with Client.from_url(beanstalkd.url) as client:
        await client.put(b"", tube="mail")
        with Events() as events:
            await Worker(beanstalkd.url, "mail", handler, burst=True, timing=timing).run()
    assert [each["outcome"] for each in events.find("job")] == ["stopped", "success"]
    assert events.find("job")[0]["action"] == "release:0"


async def test_a_program_that_cancels_all_its_tasks_ends(beanstalkd: Beanstalkd) -> None:
    started = asyncio.Event()

    async def handler(job: WorkerJob) -> None:
        started.set()
        await asyncio.sleep(100)

    async with Client.from_url(beanstalkd.url) as client:
        job_id = await client.put(b"", tube="mail")
        before = asyncio.all_tasks()
        worker = Worker(beanstalkd.url, "mail", handler, concurrency=3)
        running = asyncio.get_running_loop().create_task(worker.run())
        await started.wait()
        for task in asyncio.all_tasks() - before:
            task.cancel()
        await asyncio.wait({running}, timeout=20)
        assert running.cancelled()
        await until(lambda: asyncio.all_tasks() == before)
        counters = await client.stats_job(job_id)
        assert (counters["state"], counters["buries"]) == ("ready", 0)


async def test_an_exception_is_logged(beanstalkd: Beanstalkd) -> None:
    async def handler(job: WorkerJob) -> None:
        raise ValueError("no such user")

    job = await do(beanstalkd, handler, on_unknown_fail="release:9")
    assert job["action"] == "release:9"
    assert (job["exception"], job["error"]) == ("ValueError", "no such user")
    assert "in handler" in job["backtrace"]


async def test_the_reasons_are_logged(beanstalkd: Beanstalkd) -> None:
    async def reject(job: WorkerJob) -> None:
        raise Reject("no such user")

    async def retry(job: WorkerJob) -> None:
        raise Retry from OSError("no line")

    assert (await do(beanstalkd, reject))["error"] == "no such user"
    assert (await do(beanstalkd, retry))["error"] == "no line"


async def test_the_time_limit_cancels(beanstalkd: Beanstalkd) -> None:
    cancelled: list[bool] = []

    async def handler(job: WorkerJob) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert (await do(beanstalkd, handler, timeout=0.1))["outcome"] == "timeout"
    assert (await do(beanstalkd, handler, ttr=1))["action"] == "release:60"
    assert cancelled == [True, True]


async def test_returning_after_the_cancel_is_a_success(beanstalkd: Beanstalkd) -> None:
    async def handler(job: WorkerJob) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)

    assert (await do(beanstalkd, handler, timeout=0.1))["outcome"] == "success"


async def test_a_handler_that_goes_on_is_cancelled_again(beanstalkd: Beanstalkd) -> None:
    cancels = 0

    async def handler(job: WorkerJob) -> None:
        nonlocal cancels
        while cancels < 3:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancels += 1
        raise ValueError

    job = await do(beanstalkd, handler, timeout=0.1, kill_grace=0)
    assert (job["outcome"], job["handler"]) == ("timeout", "unknown-fail")


async def test_a_job_is_touched_as_long_as_it_may_run(beanstalkd: Beanstalkd) -> None:
    async def handler(job: WorkerJob) -> None:
        await asyncio.sleep(2.2)

    job = await do(beanstalkd, handler, ttr=1, timeout=20)
    assert (job["outcome"], job["attempt"]) == ("success", 1)


async def test_a_loop_that_was_blocked_for_longer_than_the_ttr(beanstalkd: Beanstalkd) -> None:
    runs = 0

    async def handler(job: WorkerJob) -> None:
        nonlocal runs
        runs += 1
        time.sleep(2.5)
        await asyncio.sleep(0.01)

    # The server gave the job back; nobody else had it, and it is taken back and settled.
    job = await do(beanstalkd, handler, ttr=1, timeout=20)
    assert (job["outcome"], job["state"], runs) == ("success", None, 1)


async def test_many_at_a_time(beanstalkd: Beanstalkd) -> None:
    now = most = 0

    async def handler(job: WorkerJob) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await until(lambda: most == 20)
        now -= 1

    async with Client.from_url(beanstalkd.url) as client:
        await client.put_many([b""] * 20, tube="mail")
        await Worker(beanstalkd.url, "mail", handler, concurrency=20, burst=True).run()
        assert most == 20


async def test_ten_thousand_short_jobs(beanstalkd: Beanstalkd) -> None:
    seen: set[bytes] = set()

    async def handler(job: WorkerJob) -> None:
        assert job.body not in seen
        seen.add(job.body)

    async with Client.from_url(beanstalkd.url) as client:
        await client.put_many((str(number) for number in range(10_000)), tube="mail")
        await Worker(beanstalkd.url, "mail", handler, concurrency=20, burst=True).run()
        assert len(seen) == 10_000
        assert (await client.stats())["current-jobs-ready"] == 0


async def test_an_observer_that_blocks_delays_no_job(beanstalkd: Beanstalkd) -> None:
    gate = threading.Event()
    seen: list[Event] = []

    class Blocks:
        blocking = True
        events = (JobStarted, JobFinished)

        def __call__(self, event: Event) -> None:
            gate.wait(20)
            seen.append(event)

    async def handler(job: WorkerJob) -> None:
        pass

    async with Client.from_url(beanstalkd.url) as client:
        ids = await client.put_many([b""] * 100, tube="mail")
        worker = Worker(beanstalkd.url, "mail", handler, concurrency=4, observers=[Blocks()])
        async with working(worker):
            # Every job is deleted while the observer has not come to the end of its first event.
            while (await client.stats())["cmd-delete"] < 100:
                await asyncio.sleep(0.01)
            assert not seen
            gate.set()
    assert sorted(event.id for event in seen if isinstance(event, JobFinished)) == sorted(ids)
    assert len(seen) == 200
    # A job has started before it has finished.
    first: dict[int, type[Event]] = {}
    for event in seen:
        assert isinstance(event, JobEvent)
        assert event.server == beanstalkd.url
        first.setdefault(event.id, type(event))
    assert set(first.values()) == {JobStarted}


async def test_an_observer_that_fails_harms_no_job(beanstalkd: Beanstalkd) -> None:
    def fails(event: Event) -> None:
        raise Panic

    async def handler(job: WorkerJob) -> None:
        pass

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with Client.from_url(beanstalkd.url) as client:
        await client.put_many([b""] * 10, tube="mail")
        with Events() as events:
            await Worker(beanstalkd.url, "mail", handler, burst=True, observers=[fails]).run()
        assert len(events.find("job", outcome="success", action="delete")) == 10
    assert len(told) == 1
    assert "fails" in told[0]["message"]


async def test_cancelling_run_releases_the_jobs(beanstalkd: Beanstalkd) -> None:
    started = asyncio.Event()

    async def handler(job: WorkerJob) -> None:
        started.set()
        await asyncio.sleep(100)

    async with Client.from_url(beanstalkd.url) as client:
        worker = Worker(beanstalkd.url, "mail", handler, concurrency=3)
        task = asyncio.get_running_loop().create_task(worker.run())
        job_id = await client.put(b"", tube="mail")
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.stats_job(job_id))["state"] == "ready"


async def test_a_handler_that_will_not_be_cancelled_does_not_keep_run(
    beanstalkd: Beanstalkd,
) -> None:
    timing = WorkerTiming(kill_timeout=0.2)
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(job: WorkerJob) -> None:
        started.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async with Client.from_url(beanstalkd.url) as client:
        worker = Worker(beanstalkd.url, "mail", handler, timing=timing)
        task = asyncio.get_running_loop().create_task(worker.run())
        await client.put(b"", tube="mail")
        await started.wait()
        for _ in range(3):
            worker.stop()
        await asyncio.wait_for(task, 10)
        release.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_signals_are_left_alone_when_asked(beanstalkd: Beanstalkd) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def handler(job: WorkerJob) -> None:
        seen.append(signal.getsignal(signal.SIGTERM))

    for signals in (True, False):
        seen: list[Any] = []
        async with Client.from_url(beanstalkd.url) as client:
            await client.put(b"", tube="mail")
        await Worker(beanstalkd.url, "mail", handler, burst=True).run(signals)
        assert (seen == [before]) == (not signals)
        assert signal.getsignal(signal.SIGTERM) == before


async def test_no_server() -> None:
    async def handler(job: WorkerJob) -> None:
        pass

    with pytest.raises(ConnectionLost):
        await Worker("beanstalk://127.0.0.1:1", "mail", handler, connect_timeout=0.1).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"server": "http://x"}, "bad URL"),
        ({"tube": "a b"}, "tube: bad tube name"),
        ({"handler": None}, "a coroutine function"),
        ({"concurrency": 0}, "concurrency: a whole number"),
        ({"concurrency": True}, "concurrency: a whole number"),
        ({"max_jobs": 0}, "max_jobs: a whole number"),
        ({"timeout": -1}, "timeout: a number of seconds"),
        ({"on_timeout": "explode"}, "on_timeout: bury"),
        ({"colour": "red"}, "colour is not an option"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    async def handler(job: WorkerJob) -> None:
        pass

    arguments = {"server": "beanstalk://x", "tube": "mail", "handler": handler, **changes}
    with pytest.raises(InvalidArgument, match=message):
        Worker(**arguments)


@pytest.mark.parametrize("delay", [-1, 2**32, float("nan"), float("inf")])
def test_a_retry_with_a_wrong_delay(delay: float) -> None:
    with pytest.raises(ValueError, match="a delay must be"):
        Retry(delay)
