"""One job in a slot: refused or run, settled, reported; without a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from beanstalkt import Job
from beanstalkt.errors import BeanstalkException, InternalError, NotFound
from beanstalkt.worker.config.settings import TubeSettings
from beanstalkt.worker.events import JobEvent, JobFinished, JobNotSettled, JobStarted
from beanstalkt.worker.handlers.base import WorkerJob
from beanstalkt.worker.job_executor import JobExecutor
from beanstalkt.worker.outbox_id import Carried, wrap
from beanstalkt.worker.policy.decision import SettleResult
from beanstalkt.worker.policy.outcome import SUCCESS, Kind, Outcome

from ..support.do_handler import Do, DoHandler, succeed
from ..support.running import until
from ..support.scripted import (
    FAST,
    OTHER_SERVER,
    SERVER,
    Context,
    ScriptedClient,
    counters,
    lost,
    reserved,
)


class Executing:
    """An executor with all that is around it."""

    def __init__(
        self,
        do: Do = succeed,
        context: Context | None = None,
        server: str = SERVER,
        reserves_next: bool = False,
    ) -> None:
        self.client = ScriptedClient()
        self.context = context or Context()
        self.executor = JobExecutor(
            self.context,
            server,
            3,
            TubeSettings("mail", DoHandler, kill_grace=0.01, timeout=50),
            DoHandler(do),
            accepts=self.context.take,
            reserves_next=lambda: reserves_next,
        )

    async def run(self, job_id: int = 7, *jobs: Job) -> Outcome | None:
        try:
            for job in jobs or (reserved(job_id),):
                outcome = await self.executor.run(self.client.typed(), job)
            return outcome
        finally:
            self.executor.close()

    @property
    def finished(self) -> JobFinished:
        (event,) = self.context.find(JobFinished)
        assert isinstance(event, JobFinished)
        return event


async def test_a_job_is_started_settled_and_then_reported() -> None:
    seen: list[WorkerJob] = []

    async def do(work: WorkerJob) -> Outcome:
        assert running.context.running.keys() == {(SERVER, 7)}
        assert running.client.verbs() == ["stats_job"]
        seen.append(work)
        return Outcome(Kind.SUCCESS, details={"exit": 0})

    running = Executing(do)
    deleted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running.client.script("delete", deleted)
    task = asyncio.ensure_future(running.run())
    await until(lambda: "delete" in running.client.verbs())
    # Not before the server has the delete: no observer can delay that.
    assert not running.context.find(JobFinished)
    deleted.set_result(None)
    await task
    started, finished = running.context.events
    assert isinstance(started, JobStarted)
    assert replace(started, stopped_after=0.0) == JobStarted(SERVER, "mail", 7, 1, 3, 0.0)
    assert started.stopped_after > seen[0].time_limit + seen[0].kill_grace
    assert isinstance(finished, JobFinished)
    assert replace(finished, seconds=0.0) == JobFinished(
        SERVER,
        "mail",
        7,
        1,
        Kind.SUCCESS,
        finished.action,
        SettleResult.DONE,
        0.0,
        "",
        {"exit": 0},
        attempts_left=9,
    )
    assert str(finished.action) == "delete"
    assert 0 <= finished.seconds < 50
    assert not running.context.running
    (work,) = seen
    assert (work.server, work.slot, work.time_limit) == (SERVER, 3, 50)


async def test_a_handler_gets_the_payload_and_the_id_of_the_row_that_it_comes_from() -> None:
    seen: list[tuple[int | None, bytes]] = []

    async def do(work: WorkerJob) -> Outcome:
        seen.append((work.outbox_id, work.body))
        return Outcome(Kind.SUCCESS)

    running = Executing(do)
    await running.run(7, reserved(7, wrap(b"x", Carried(12))), reserved(8, b"y"))
    assert seen == [(12, b"x"), (None, b"y")]
    assert [event.outbox_id for event in running.context.find(JobStarted)] == [12, None]
    assert [event.outbox_id for event in running.context.find(JobFinished)] == [12, None]


async def test_the_limits_that_a_job_carries_count_more_than_the_settings() -> None:
    seen: list[tuple[int, int]] = []

    async def do(work: WorkerJob) -> Outcome:
        seen.append((work.attempt, work.max_attempts))
        return Outcome(Kind.RETRY)

    running = Executing(do)
    await running.run(7, reserved(7, wrap(b"x", Carried(12, 3, 77))))
    assert seen == [(1, 3)]
    assert running.finished.attempts_left == 2
    assert str(running.finished.action) == "release:77"


async def test_the_run_of_a_server_is_asked_for_once_for_each_connection() -> None:
    running = Executing(context=Context())
    await running.run()
    assert "stats" not in running.client.verbs()
    context = Context()
    context.wants_server_run = True
    running = Executing(context=context)
    running.client.script("stats", {"id": "first"}, {"id": "second"})
    jobs = [Job(7, b"x", origin=origin) for origin in ("one", "one", "other")]
    await running.run(7, *jobs)
    runs = [event.server_run for event in context.find(JobFinished)]
    assert runs == ["first", "first", "second"]


async def test_a_slot_of_several_servers_asks_each_for_its_run_once() -> None:
    context = Context()
    context.wants_server_run = True
    running = Executing(context=context)
    running.client.script("stats", {"id": "a"}, {"id": "b"})
    executor = running.executor
    for server in (SERVER, OTHER_SERVER, SERVER, OTHER_SERVER):
        executor.move_to(server, server)
        await executor.run(running.client.typed(), Job(7, b"x", origin=server))
    executor.close()
    assert [event.server_run for event in context.find(JobFinished)] == ["a", "b", "a", "b"]


async def test_the_next_job_is_reserved_with_the_delete_only_if_the_slot_goes_on() -> None:
    for goes_on in (False, True):
        running = Executing(reserves_next=goes_on)
        await running.run()
        assert ("reserve" in running.client.verbs()) is goes_on
        running.executor.prefetch.cancel()


# --- jobs that are not run -------------------------------------------------------------------


@pytest.mark.parametrize("error", [lost(), NotFound()])
async def test_a_job_that_is_gone_before_it_begins_is_let_go(error: BeanstalkException) -> None:
    for verb in ("stats_job", "release"):
        running = Executing(context=Context(left=0))
        running.client.script(verb, error)
        assert await running.run() is None
        assert not running.context.events
        assert not running.context.running


async def test_a_job_too_many_goes_back_at_once() -> None:
    running = Executing(context=Context(left=0))
    assert await running.run() is None
    assert running.client.calls[1:] == [("release", reserved(), 1024, 0)]
    assert not running.context.events


@pytest.mark.parametrize(
    ("server", "job_id", "parked"),
    [(SERVER, 7, True), (OTHER_SERVER, 7, False), (SERVER, 8, False)],
)
async def test_a_job_that_runs_in_another_slot_is_known_by_server_and_id(
    server: str, job_id: int, parked: bool
) -> None:
    go_on = asyncio.Event()

    async def wait(work: WorkerJob) -> Outcome:
        await go_on.wait()
        return SUCCESS

    context = Context()
    first = Executing(wait, context)
    task = asyncio.ensure_future(first.run())
    await until(lambda: bool(context.find(JobStarted)))
    # The same tube, body and age: only the id and the server tell them apart.
    second = Executing(context=context, server=server)
    outcome = await second.run(job_id)
    if parked:
        assert outcome is None
        assert second.client.calls[1:] == [("release", reserved(), 1024, FAST.parking_delay)]
    else:
        assert outcome is SUCCESS
    # The first one, and no other, will know a delay for this slot's.
    assert context.running[(SERVER, 7)]._parked is parked
    # The first one is still known, whatever became of the second.
    assert context.running.keys() == {(SERVER, 7)}
    go_on.set()
    assert await task is SUCCESS
    assert not context.running


async def test_a_job_without_attempts_left_is_buried_without_a_start() -> None:
    running = Executing()
    running.client.script("stats_job", counters(reserves=11))
    outcome = await running.run()
    assert outcome is not None
    assert running.finished.outcome is Kind.EXHAUSTED
    assert running.finished.error == "10 attempts have been made"
    assert not running.context.find(JobStarted)
    assert "bury" in running.client.verbs()


# --- stopping --------------------------------------------------------------------------------


async def test_stop_releases_the_job_and_every_later_one() -> None:
    async def wait(work: WorkerJob) -> Outcome:
        await asyncio.sleep(100)
        return SUCCESS

    running = Executing(wait)
    task = asyncio.ensure_future(running.run())
    await until(lambda: bool(running.context.find(JobStarted)))
    running.executor.stop()
    running.executor.stop()
    await task
    await running.run(8)
    for event in running.context.find(JobFinished):
        assert (event.outcome, str(event.action)) == (Kind.STOPPED, "release:0")
        assert event.details == {"handler": "unknown-fail"}
    assert running.client.verbs().count("release") == 2


async def test_a_cancelled_slot_releases_its_job_and_says_so() -> None:
    async def wait(work: WorkerJob) -> Outcome:
        await asyncio.sleep(100)
        return SUCCESS

    running = Executing(wait)
    task = asyncio.ensure_future(running.run())
    await until(lambda: bool(running.context.find(JobStarted)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running.finished.outcome is Kind.STOPPED
    assert "release" in running.client.verbs()


async def test_the_time_limit_stops_the_handler() -> None:
    async def wait(work: WorkerJob) -> Outcome:
        await asyncio.sleep(100)
        return SUCCESS

    running = Executing(wait)
    running.executor._settings = replace(running.executor._settings, timeout=0.01)
    await running.run()
    assert running.finished.outcome is Kind.TIMEOUT


# --- what went wrong -------------------------------------------------------------------------


async def test_a_job_that_is_lost_while_it_runs_stops_its_handler() -> None:
    cancelled = asyncio.Event()

    async def wait(work: WorkerJob) -> Outcome:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return SUCCESS

    running = Executing(wait)
    running.client.script("touch", lost())
    running.client.script("peek", NotFound())
    task = asyncio.ensure_future(running.run())
    await until(lambda: bool(running.context.find(JobStarted)))
    running.executor.reconnected()
    await task
    assert cancelled.is_set()
    finished = running.finished
    assert (finished.outcome, finished.action) == (Kind.LOST, None)
    assert finished.settled is SettleResult.LOST
    assert finished.error == "it no longer exists"


async def test_a_job_that_is_lost_when_it_is_settled_keeps_what_the_handler_said() -> None:
    async def fail(work: WorkerJob) -> Outcome:
        return Outcome(Kind.PERMANENT_FAIL, error="no such user", details={"exit": 1})

    running = Executing(fail)
    running.client.script("bury", lost())
    running.client.script("peek", NotFound())
    await running.run()
    finished = running.finished
    assert (finished.outcome, finished.settled) == (Kind.LOST, SettleResult.LOST)
    assert finished.error == "it no longer exists; no such user"
    assert finished.details == {"handler": "permanent-fail", "exit": 1}


async def test_a_refused_settling_is_reported_with_the_job() -> None:
    running = Executing()
    running.client.script("delete", InternalError("full"))
    await running.run()
    assert running.finished.settled is SettleResult.REFUSED
    assert running.finished.outcome is Kind.SUCCESS
    assert [type(event) for event in running.context.events] == [
        JobStarted,
        JobNotSettled,
        JobFinished,
    ]
    # Each says which job, of which server.
    for event in running.context.events:
        assert isinstance(event, JobEvent)
        assert (event.server, event.id) == (SERVER, 7)


async def test_a_defect_in_settling_leaves_nothing_behind() -> None:
    running = Executing()
    running.client.script("delete", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await running.run()
    assert not running.context.running
    assert running.executor._held_job is None
