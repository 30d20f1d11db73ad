"""The snapshots of several servers as one: rows, sums, and servers that are away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from beanstalkt.admin import Badge, Head, Rates, Sampler, ServerRates, Snapshot, TubeSample
from beanstalkt.cli.together import SamplerGroup, ServerTube, Together, together
from beanstalkt.cli.top_view import View
from beanstalkt.cli.tube_table import as_dict, columns_of, headline, sorted_tubes, table

from ..support.beanstalkd import Beanstalkd
from ..support.several import several
from ..support.waiting import until


def sample(name: str, ready: int, **others: Any) -> TubeSample:
    stats: Any = {"name": name, "current-jobs-ready": ready, "pause": 0}
    return TubeSample(name, stats, **{"watching": 1, "using": 0, **others})


def snapshot(*tubes: TubeSample, **others: Any) -> Snapshot:
    stats: Any = {"current-jobs-ready": sum(tube.ready for tube in tubes), "version": "1.12"}
    values = {"stats": stats, "tubes": {tube.name: tube for tube in tubes}, **others}
    return Snapshot("beanstalk://h:1", 1.0, 2.0, tube_count=len(tubes), **{"up": True, **values})


A = snapshot(
    sample("mail", 3, rates=Rates(1, 2), head=Head(7, 5, 0), badges=(Badge.PAUSED,)),
    sample("x", 1),
    rates=ServerRates(1, 2, 3, 4),
    badges=(Badge.DRAINING,),
)
B = snapshot(sample("mail", 4, rates=Rates(1, 2), head=Head(9, 60, 0)), rates=None)
AWAY = Snapshot("beanstalk://h:2", 1.0, 2.0, up=False, error="no connection")


def test_each_server_has_a_row_of_its_own() -> None:
    found = together({"a": A, "b": B, "c": AWAY}, sums=False)
    rows = sorted_tubes(found.tubes.values(), "name")
    lines = table(rows, [each for each in columns_of(rows) if each.key in ("name", "server")])
    assert lines == ["TUBE SERVER", "mail a", "mail b", "x    a"]
    assert as_dict(rows[1], watched=False) == {
        **rows[1].stats,
        "badges": [],
        "head-id": "b/9",
        "head-age": 60,
        "server": "b",
    }
    assert found.tube_count == 3
    assert headline(found).startswith("a, b: draining, 3 tubes, ")
    assert headline(found).endswith("; c is not available: no connection")


def test_tubes_of_the_same_name_are_added_up() -> None:
    found = together({"a": A, "b": B}, sums=True)
    mail = found.tubes["mail"]
    assert isinstance(mail, ServerTube)
    assert (mail.ready, mail.watching, mail.rates) == (7, 2, Rates(2, 4))
    assert mail.badges == (Badge.PAUSED,)
    assert as_dict(mail, watched=False)["head-id"] == "b/9"
    assert "server" not in as_dict(mail, watched=False)
    assert "server" not in {column.key for column in columns_of(found.tubes.values())}
    assert found.tube_count == 2


@pytest.mark.parametrize("sums", [False, True])
def test_servers_that_are_all_away_are_named(sums: bool) -> None:
    found = together({"a": AWAY}, sums=sums, missing=["b"])
    assert not found.up
    assert headline(found) == (
        "a, b is not available: a: no connection; b: it has not answered yet"
    )
    assert not found.tubes


def test_top_shows_the_servers_and_who_is_away() -> None:
    view = View("server")
    view.take(together({"a": A, "b": B, "c": AWAY}, sums=False))
    texts = [line.text for line in view.lines(100, 10)]
    assert "a, b: draining, c is not available: no connection, beanstalkd 1.12" in texts[0]
    assert texts[2].split()[:3] == ["TUBE", "SERVER", "READY"]
    assert texts[3].split()[:3] == ["mail", "a", "3"]
    view.take(together({"a": A, "b": B}, sums=True))
    assert view.lines(100, 10)[2].text.split()[:2] == ["TUBE", "READY"]


def test_one_server_is_not_sorted_by_servers() -> None:
    view = View("name")
    view.take(A)
    view.sort_by_next(1)
    assert view.sort == "ready"


async def test_a_frozen_server_holds_up_no_other(patient: None) -> None:
    with several(2) as servers:
        servers["b"].freeze()
        group = SamplerGroup(
            {name: Sampler(server.url, 0.05, timeout=0.5) for name, server in servers.items()},
            sums=False,
        )
        async with group.subscribe() as snapshots:
            first = await _until_up(snapshots, "a")
            assert first is not None
            assert set(first.away) == {"b"}
            servers["b"].thaw()
            assert await _until_up(snapshots, "a, b")
            servers["a"].kill()
            assert await _until_up(snapshots, "b")
    await until(lambda: len(asyncio.all_tasks()) == 1, "the end of all tasks")


async def _until_up(snapshots: Any, names: str) -> Together | None:
    async for found in snapshots:
        if found.server == names and found.up:
            last: Together = found
            return last
    return None


async def test_the_pace_is_that_of_all(beanstalkd: Beanstalkd) -> None:
    group = SamplerGroup({name: Sampler(beanstalkd.url) for name in "ab"}, sums=False)
    group.interval = 4
    assert {sampler.interval for sampler in group._samplers.values()} == {4}
