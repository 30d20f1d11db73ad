"""The runner's own decisions, without a server."""

from __future__ import annotations

import asyncio

import pytest

from beanstalkt import ConnectionLost
from beanstalkt.worker.config.settings import ConfigError, Settings, TubeSettings
from beanstalkt.worker.events import (
    Event,
    ReloadFailed,
    ReloadFinished,
    ReloadRefused,
    ReloadStarted,
    RunnerPaused,
    RunnerResumed,
    RunnerStopping,
)
from beanstalkt.worker.handlers.base import CannotStart
from beanstalkt.worker.runner import Runner, Stage
from beanstalkt.worker.timing import WorkerTiming

from ..support.do_handler import DoHandler, succeed

NOWHERE = "beanstalk://127.0.0.1:1"


class Unable(DoHandler):
    """A handler that cannot run any job."""

    def check(self) -> None:
        raise CannotStart("no such command")


def settings(handler: type[DoHandler] = DoHandler, *tubes: str) -> Settings:
    return Settings(NOWHERE, tuple(TubeSettings(tube, handler, {"do": succeed}) for tube in tubes))


def make(**options: object) -> tuple[Runner, list[Event]]:
    events: list[Event] = []
    chosen = options.pop("settings", settings(DoHandler, "mail"))
    return Runner(chosen, observers=[events.append], **options), events  # type: ignore[arg-type]


async def test_each_stop_goes_one_stage_further_and_the_last_stays() -> None:
    runner, events = make()
    for _ in range(5):
        runner.stop()
    assert runner.stage is Stage.KILLING
    assert events == [
        RunnerStopping("draining", 0),
        RunnerStopping("stopping", 0),
        RunnerStopping("killing", 0),
    ]


async def test_one_that_was_stopped_before_it_runs_looks_for_no_server() -> None:
    runner, _ = make()
    runner.stop()
    # There is no server, and it would look for one for ever.
    await asyncio.wait_for(runner.run(), 10)


async def test_without_a_server_it_says_so() -> None:
    runner, _ = make(connect_timeout=0.05)
    with pytest.raises(ConnectionLost):
        await runner.run()
    assert not runner.has_running_slots


async def test_a_stop_ends_the_look_for_a_server() -> None:
    runner, _ = make()
    task = asyncio.ensure_future(runner.run())
    await asyncio.sleep(0.05)
    runner.stop()
    await asyncio.wait_for(task, 10)


async def test_a_handler_that_cannot_start_is_an_error_at_once() -> None:
    runner, _ = make(settings=settings(Unable, "mail"))
    with pytest.raises(CannotStart, match="tube mail: no such command"):
        await runner.run()


async def test_so_many_jobs_are_taken_and_no_more() -> None:
    runner, events = make(max_jobs=2)
    assert [runner.take() for _ in range(4)] == [True, True, False, False]
    # It drains when the last one is taken, not with the next.
    assert events == [RunnerStopping("draining", 0)]
    runner, _ = make()
    assert all(runner.take() for _ in range(100))


async def test_a_pause_and_its_end_are_reported() -> None:
    runner, events = make()
    runner.pause()
    runner.resume()
    assert events == [RunnerPaused(0), RunnerResumed()]


async def test_a_reload_without_a_file_or_after_a_stop_is_refused() -> None:
    runner, events = make()
    runner.reload()
    assert events == [ReloadRefused()]
    runner, events = make(reread=lambda: settings(DoHandler, "mail"))
    runner.stop()
    runner.reload()
    assert events[-1] == ReloadRefused()


async def test_a_wrong_configuration_is_reported_and_the_old_one_kept() -> None:
    def wrong() -> Settings:
        raise ConfigError(["a:1: bad"])

    for reread, problems, reason in (
        (wrong, ("a:1: bad",), "the configuration is wrong"),
        (lambda: settings(Unable, "mail"), (), "tube mail: no such command"),
    ):
        runner, events = make(reread=reread)
        runner.reload()
        assert events == [ReloadStarted(), ReloadFailed(problems, reason)]
        assert not runner.has_running_slots


async def test_a_reload_to_no_tube_has_none() -> None:
    runner, events = make(reread=settings)
    runner.reload()
    assert events == [ReloadStarted(), ReloadFinished(0)]


async def test_a_program_s_timing_is_that_of_its_slots() -> None:
    timing = WorkerTiming(back_off_delay=7)
    assert make(timing=timing)[0].timing is timing
    assert make()[0].timing == WorkerTiming()
