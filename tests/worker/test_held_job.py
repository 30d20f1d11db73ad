"""A held job: touched, taken back after a lost connection, settled; without a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from beanstalkt.errors import (
    BadFormat,
    BeanstalkException,
    Buried,
    InternalError,
    NotFound,
    UnexpectedResponse,
    UnknownCommand,
)
from beanstalkt.worker.events import JobNotSettled, JobNotTakenBack, JobNotTouched, JobTakenBack
from beanstalkt.worker.held_job import RECOVERY_ATTEMPTS, HeldJob, HeldJobContext, RecoveryResult
from beanstalkt.worker.policy.decision import BURY, DELETE, Action, SettleResult, Verb
from beanstalkt.worker.timing import WorkerTiming

from ..support.running import until
from ..support.scripted import (
    FAST,
    SERVER,
    Context,
    FakeTimer,
    ScriptedClient,
    counters,
    lost,
    reserved,
)

RELEASE = Action(Verb.RELEASE, 30)
TTR = 60


class Holding:
    """A held job with all that is around it."""

    def __init__(self, timing: WorkerTiming = FAST, **stats: Any) -> None:
        self.client = ScriptedClient()
        self.context = Context(timing)
        self.timer = FakeTimer()
        self.losses = 0
        self.job = HeldJob(
            self.client.typed(),
            reserved(),
            counters(ttr=TTR, **stats),
            HeldJobContext(
                SERVER, "mail", self._lose, self.timer.typed(), self.context.publish, timing
            ),
        )
        self.client.defaults = {"peek": reserved, "stats_job": lambda: self.found(state="ready")}

    def _lose(self) -> None:
        self.losses += 1

    def touch(self) -> None:
        """Let the timer call back."""
        self.timer.when = None
        self.job.touch()

    def found(self, **changes: Any) -> Any:
        return counters(**{"state": "reserved", **changes})

    async def idle(self) -> None:
        """Until no touch, nor what follows it, is under way."""
        await until(lambda: self.job._task is None)


# --- touching --------------------------------------------------------------------------------


async def test_it_is_touched_at_each_third_of_its_ttr() -> None:
    holding = Holding()
    now = asyncio.get_running_loop().time()
    for _ in range(3):
        assert holding.timer.when == pytest.approx(now + TTR / 3, abs=5)
        holding.touch()
        await holding.idle()
    assert holding.client.verbs() == ["touch"] * 3
    assert holding.job.close() is None
    assert holding.timer.when is None


async def test_a_refused_touch_is_reported_and_tried_again() -> None:
    holding = Holding()
    error = InternalError("no")
    holding.client.script("touch", error)
    holding.touch()
    await holding.idle()
    assert holding.context.events == [JobNotTouched(SERVER, "mail", 7, error)]
    assert holding.timer.when is not None
    assert not holding.losses


@pytest.mark.parametrize("error", [lost(), lost(sent=True), NotFound(), UnexpectedResponse()])
async def test_a_job_that_is_ready_again_is_taken_back(error: BeanstalkException) -> None:
    holding = Holding()
    holding.client.script("touch", error)
    holding.client.script("reserve_job", reserved())
    holding.touch()
    await holding.idle()
    assert holding.client.verbs() == ["touch", "peek", "stats_job", "reserve_job"]
    assert holding.context.events == [JobTakenBack(SERVER, "mail", 7)]
    assert not holding.losses
    assert holding.timer.when is not None


# --- taking back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"stats_job": NotFound()}, RecoveryResult.GONE),
        ({"peek": NotFound()}, RecoveryResult.GONE),
        ({"peek": reserved(body=b"y")}, RecoveryResult.OTHER),
        ({"stats_job": counters(tube="news", state="ready")}, RecoveryResult.OTHER),
        ({"stats_job": counters(age=0, state="ready")}, RecoveryResult.OTHER),
        ({"stats_job": counters(age=500, state="buried")}, RecoveryResult.BURIED),
        ({"stats_job": counters(age=500, state="delayed")}, RecoveryResult.DELAYED),
    ],
)
async def test_a_job_that_is_lost_is_not_touched_again(
    found: dict[str, Any], expected: RecoveryResult
) -> None:
    holding = Holding(age=100)
    holding.client.defaults = {
        "peek": reserved,
        "stats_job": lambda: counters(age=500, state="ready"),
    }
    for verb, answer in found.items():
        holding.client.script(verb, answer)
    holding.client.script("touch", lost())
    holding.touch()
    await holding.idle()
    assert holding.job.reason == expected.value
    assert holding.losses == 1
    assert holding.timer.when is None
    assert "reserve_job" not in holding.client.verbs()
    # Nothing is settled then.
    assert await holding.job.settle(DELETE) is SettleResult.LOST
    assert "delete" not in holding.client.verbs()


async def test_a_job_that_somebody_holds_is_looked_at_a_few_times() -> None:
    holding = Holding()
    holding.client.defaults["stats_job"] = holding.found
    holding.client.script("touch", lost())
    holding.touch()
    await holding.idle()
    assert holding.client.verbs().count("peek") == RECOVERY_ATTEMPTS
    assert (holding.losses, holding.job.reason) == (1, RecoveryResult.TAKEN.value)


async def test_a_job_that_another_slot_parks_is_waited_for_and_taken_back() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.script("stats_job", holding.found(), holding.found(state="delayed"))
    holding.client.script("reserve_job", reserved())
    holding.job.park()
    holding.touch()
    await holding.idle()
    assert holding.context.find(JobTakenBack)
    assert not holding.losses
    # The next time a delay is another worker's.
    holding.client.script("touch", lost())
    holding.client.script("stats_job", holding.found(state="delayed"))
    holding.touch()
    await holding.idle()
    assert holding.job.reason == RecoveryResult.DELAYED.value


async def test_one_that_another_worker_is_faster_to_reserve_is_looked_at_again() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.script("reserve_job", NotFound(), reserved())
    holding.touch()
    await holding.idle()
    assert holding.client.verbs().count("reserve_job") == 2
    assert not holding.losses


async def test_while_there_is_no_server_it_waits_for_the_next_connection() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.script("peek", lost(), lost())
    holding.client.script("reserve_job", reserved())
    holding.touch()
    for count in (1, 2):
        await until(lambda count=count: holding.client.verbs().count("peek") == count)  # type: ignore[misc]
        holding.job.reconnected()
    await holding.idle()
    assert holding.context.find(JobTakenBack)


async def test_it_gives_up_when_told_not_to_wait_for_the_server() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.defaults["peek"] = lost
    holding.touch()
    await until(lambda: "peek" in holding.client.verbs())
    holding.job.stop_waiting_for_server()
    await holding.idle()
    assert holding.job.reason == RecoveryResult.CLOSED.value


@pytest.mark.parametrize("error", [UnknownCommand(), BadFormat()])
async def test_a_server_that_cannot_give_it_back_is_reported(error: BeanstalkException) -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.script("reserve_job", error)
    holding.touch()
    await holding.idle()
    assert holding.context.events == [JobNotTakenBack(SERVER, "mail", 7, error)]
    assert holding.job.reason == RecoveryResult.TAKEN.value


async def test_a_new_connection_takes_it_back_at_once() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.script("reserve_job", reserved())
    holding.job.reconnected()
    holding.job.reconnected()  # a second one starts no second touch
    await holding.idle()
    assert holding.client.verbs() == ["touch", "peek", "stats_job", "reserve_job"]


def test_a_job_s_age_may_be_off_by_the_tolerance() -> None:
    async def check() -> None:
        for tolerance, same in ((0.0, False), (2.0, True)):
            job = Holding(replace(FAST, age_tolerance=tolerance), age=10).job
            assert job.is_same("mail", b"x", counters(age=9)) is same
            assert job.is_same("mail", b"x", counters(age=12))
            assert not job.is_same("mail", b"x", counters(age=7))
            assert job.close() is None

    asyncio.run(check())


# --- settling --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "call"),
    [
        (DELETE, ("delete", reserved())),
        (BURY, ("bury", reserved(), 1024)),
        (RELEASE, ("release", reserved(), 1024, 30)),
    ],
)
async def test_settling_keeps_the_priority(action: Action, call: tuple[Any, ...]) -> None:
    holding = Holding()
    assert await holding.job.settle(action) is SettleResult.DONE
    assert holding.client.calls == [call]
    assert holding.timer.when is None


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize(
    ("action", "state"), [(DELETE, None), (BURY, "buried"), (RELEASE, "delayed")]
)
async def test_a_lost_reply_is_presumed_only_for_what_was_sent(
    action: Action, state: str | None, sent: bool
) -> None:
    holding = Holding()
    holding.client.script(action.verb.value, lost(sent))
    holding.client.script("stats_job", NotFound() if state is None else holding.found(state=state))
    expected = SettleResult.PRESUMED if sent else SettleResult.LOST
    assert await holding.job.settle(action) is expected
    assert holding.client.verbs().count(action.verb.value) == 1


async def test_a_lost_command_is_repeated_once_the_job_is_taken_back() -> None:
    holding = Holding()
    holding.client.script("delete", lost(sent=True), NotFound(), None)
    holding.client.defaults["reserve_job"] = reserved
    assert await holding.job.settle(DELETE) is SettleResult.DONE
    assert holding.client.verbs().count("delete") == 3
    assert len(holding.context.find(JobTakenBack)) == 2


async def test_what_the_server_refuses_is_reported() -> None:
    holding = Holding()
    error = InternalError("no memory")
    holding.client.script("bury", error)
    assert await holding.job.settle(BURY) is SettleResult.REFUSED
    assert holding.context.events == [JobNotSettled(SERVER, "mail", 7, error)]
    holding = Holding()
    holding.client.script("release", Buried())
    assert await holding.job.settle(RELEASE) is SettleResult.BURIED


async def test_settling_waits_for_a_touch_that_is_under_way() -> None:
    holding = Holding()
    reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    holding.client.script("touch", reply)
    holding.touch()
    settling = asyncio.ensure_future(holding.job.settle(DELETE))
    await until(lambda: "touch" in holding.client.verbs())
    assert "delete" not in holding.client.verbs()
    reply.set_result(None)
    assert await settling is SettleResult.DONE
    # And the touch sets no timer for another one.
    assert holding.timer.when is None


async def test_a_job_that_is_lost_while_it_is_settled_is_no_reason_to_stop_its_handler() -> None:
    holding = Holding()
    holding.client.script("delete", lost())
    holding.client.script("peek", NotFound())
    assert await holding.job.settle(DELETE) is SettleResult.LOST
    assert holding.losses == 0
    assert holding.job.reason == RecoveryResult.GONE.value


async def test_closing_waits_for_no_server() -> None:
    holding = Holding()
    holding.client.script("touch", lost())
    holding.client.defaults["peek"] = lost
    holding.touch()
    await until(lambda: "peek" in holding.client.verbs())
    touching = holding.job.close()
    assert touching is not None
    await asyncio.wait_for(touching, 20)
    assert holding.timer.when is None
    # Its handler has ended: it is not told of the loss.
    assert not holding.losses
