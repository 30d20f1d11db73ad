"""The metrics of servers: right, in time, and of nothing that is gone."""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families

from beanstalkt.admin import TubeFilter
from beanstalkt.metrics.servers import ServerMetrics
from tests.support.clients import client_of
from tests.support.embedded import AnyServer, Embedded
from tests.support.promtool import check_metrics


class Scraped:
    """The values of some metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        labels = {"server": "main", **labels}
        return self._values.get((f"beanstalkd_{name}", frozenset(labels.items())))


async def scrape(metrics: ServerMetrics) -> Scraped:
    return Scraped(await metrics.render())


async def test_a_server_and_its_tubes(server: AnyServer) -> None:
    metrics = ServerMetrics({"main": server.url})
    async with client_of(server) as client:
        await client.put(b"x", tube="mail")
        await client.put(b"x", 5, tube="mail")
        await client.put(b"x", delay=100, tube="mail")
        await client.bury(await client.reserve_job(await client.put(b"x", tube="a/b;c$(d)_.-+")))
        await client.delete(await client.put(b"x", tube="mail"))
        await client.pause_tube("mail", 100)
        found = await scrape(metrics)
        assert found.value("up") == 1
        assert found.value("jobs", state="ready") == 2
        assert found.value("jobs_put_total") == 5
        assert found.value("commands_total", command="put") == 5
        assert found.value("tube_jobs", tube="mail", state="ready") == 2
        assert found.value("tube_jobs", tube="mail", state="delayed") == 1
        assert found.value("tube_jobs", tube="a/b;c$(d)_.-+", state="buried") == 1
        assert found.value("tube_urgent_jobs", tube="mail") == 1
        assert found.value("tube_jobs_put_total", tube="mail") == 4
        assert found.value("tube_jobs_deleted_total", tube="mail") == 1
        assert 90 <= (found.value("tube_pause_seconds", tube="mail") or 0) <= 100
        assert found.value("tube_head_age_seconds", tube="mail") is not None
    check_metrics(found.text)


async def test_a_tube_that_is_gone_has_no_metrics(server: AnyServer) -> None:
    metrics = ServerMetrics({"main": server.url})
    async with client_of(server) as client:
        number = await client.put(b"x", tube="brief")
        assert (await scrape(metrics)).value("tube_using", tube="brief") is not None
        await client.delete(number)
        assert '"brief"' not in (await scrape(metrics)).text


async def test_tubes_are_filtered_and_limited(server: AnyServer) -> None:
    async with client_of(server) as client:
        for number in range(10):
            await client.put(b"x", tube=f"mail.{number}")
        await client.put(b"x", tube="tmp.x")
        chosen = TubeFilter(("mail.*", "tmp.*"), ("tmp.*",), limit=4)
        found = await scrape(ServerMetrics({"main": server.url}, chosen))
        assert found.text.count("beanstalkd_tube_using{") == 4
        assert '"tmp.x"' not in found.text
        assert (found.value("tubes"), found.value("tubes_left_out")) == (12, 6)


async def test_a_server_that_hangs_or_is_gone_is_down_in_time_and_keeps_no_other(
    apart: AnyServer,
) -> None:
    other = Embedded()
    other.start()
    metrics = ServerMetrics(
        {"hangs": apart.url, "gone": "beanstalk://127.0.0.1:1", "main": other.url},
        timeout=1.5,
    )
    apart.freeze()
    began = time.monotonic()
    found = await scrape(metrics)
    took = time.monotonic() - began
    assert (found.value("up", server="hangs"), found.value("up", server="gone")) == (0, 0)
    assert found.value("up") == 1
    assert 'server="hangs",' not in found.text, "nothing old is told of it"
    assert took < 10, "a Prometheus waits for ten seconds"
    apart.thaw()
    assert (await scrape(metrics)).value("up", server="hangs") == 1
    other.stop()
    check_metrics(found.text)
