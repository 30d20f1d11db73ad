from __future__ import annotations

from beanstalkt.metrics.health import GRACE, Health
from beanstalkt.metrics.runner_counts import RunnerCounts
from beanstalkt.worker.events import JobStarted, TubeRetired, TubeStarted
from tests.support.beanstalkd import free_port
from tests.support.clock import Clock
from tests.support.embedded import AnyServer


async def test_a_runner_is_unhealthy_when_its_server_is_gone_for_too_long(
    apart: AnyServer,
) -> None:
    clock = Clock()
    counts = RunnerCounts(clock)
    health = Health(counts, clock)
    assert await health.problems() == [], "it has no tubes yet"
    counts(TubeStarted(apart.url, "mail", 1, "cat", {}))
    try:
        assert await health.problems() == []
        apart.freeze()
        assert await health.problems() == [], "a short while is nothing"
        clock.now += GRACE
        (problem,) = await health.problems()
        assert problem == f"{apart.url} is out of reach for 60 s"
        apart.thaw()
        assert await health.problems() == []
        apart.freeze()
        assert await health.problems() == [], "it begins to count anew"
    finally:
        await health.close()


async def test_of_several_servers_one_is_enough(apart: AnyServer) -> None:
    clock = Clock()
    counts = RunnerCounts(clock)
    health = Health(counts, clock)
    gone = f"beanstalk://127.0.0.1:{free_port()}"
    counts(TubeStarted("a b", "mail", 1, "cat", {}, {"a": apart.url, "b": gone}))
    counts(TubeStarted("a b", "news", 1, "cat", {}, {"a": apart.url, "b": gone}))
    try:
        assert await health.problems() == []
        clock.now += GRACE
        assert await health.problems() == []
        for tube in ("mail", "news"):
            counts(TubeRetired("a b", tube))
        assert counts.servers() == []
        for tube in ("mail", "news"):
            counts(TubeStarted("b c", tube, 1, "cat", {}, {"b": gone, "c": gone}))
        assert await health.problems() == []
        clock.now += GRACE
        assert await health.problems() == ["all of b c are out of reach for 60 s"]
    finally:
        await health.close()


async def test_a_runner_is_unhealthy_when_a_handler_cannot_be_stopped() -> None:
    clock = Clock()
    counts = RunnerCounts(clock)
    counts(JobStarted("beanstalk://x", "mail", 7, 1, 1, 10.0))
    clock.now += 1000
    health = Health(counts, clock)
    assert await health.problems() == ["job 7 of tube mail goes on past its time limit"]
    await health.close()
