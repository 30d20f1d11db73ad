"""The data of the statistics, read by the parser of the client."""

from __future__ import annotations

import os

from beanstalkt.protocol.stats import (
    Stats,
    StatsJob,
    StatsTube,
    parse_job,
    parse_list,
    parse_server,
    parse_tube,
)
from beanstalkt.server import stats
from beanstalkt.server.engine import Engine
from beanstalkt.server.stored_job import StoredJob

from ..support.talk import Clock


def put(engine: Engine, delay: int = 0) -> StoredJob:
    job = engine.create_job(engine.default_tube, priority=5, delay=delay, ttr=60, size=1)
    engine.put(job)
    return job


def test_a_job_has_every_value_that_the_protocol_names() -> None:
    clock = Clock()
    engine = Engine(clock=clock)
    values = parse_job(stats.job_stats(engine, put(engine)))
    assert set(values) == set(StatsJob.__annotations__)
    assert (values["id"], values["tube"], values["pri"], values["ttr"]) == (1, "default", 5, 60)


def test_the_times_of_a_job_are_whole_seconds_of_the_engines_clock() -> None:
    clock = Clock()
    engine = Engine(clock=clock)
    job = put(engine, delay=10)
    clock.now += 2.5
    engine.tick()
    values = parse_job(stats.job_stats(engine, job))
    assert (values["state"], values["age"], values["time-left"]) == ("delayed", 2, 7)


def test_a_ready_job_has_no_time_left() -> None:
    engine = Engine(clock=Clock())
    assert parse_job(stats.job_stats(engine, put(engine)))["time-left"] == 0


def test_a_tube_has_every_value_that_the_protocol_names() -> None:
    engine = Engine(clock=Clock())
    session = engine.connect()
    put(engine)
    put(engine, delay=10)
    engine.reserve(session, engine.jobs[1])
    engine.pause(engine.default_tube, 30)
    values = parse_tube(stats.tube_stats(engine, engine.default_tube))
    assert set(values) == set(StatsTube.__annotations__)
    counts = {key: value for key, value in values.items() if value}
    assert counts == {
        "name": "default",
        "current-jobs-reserved": 1,
        "current-jobs-delayed": 1,
        "total-jobs": 2,
        "current-using": 1,
        "current-watching": 1,
        "cmd-pause-tube": 1,
        "pause": 30,
        "pause-time-left": 30,
    }


def test_the_server_has_every_value_that_the_protocol_names() -> None:
    clock = Clock()
    engine = Engine(12345, clock)
    put(engine)
    engine.connect().is_producer = True
    engine.draining = True
    engine.command_counts["put"] = 3
    clock.now += 7
    engine.tick()
    values = parse_server(stats.server_stats(engine))
    assert set(values) == set(Stats.__annotations__)
    assert values["max-job-size"] == 12345
    assert values["cmd-put"] == 3
    assert values["current-jobs-ready"] == 1
    assert (values["current-producers"], values["current-workers"]) == (1, 0)
    assert (values["pid"], values["uptime"], values["draining"]) == (os.getpid(), 7, True)
    assert values["version"] == stats.VERSION


def test_a_list_of_tubes_has_their_names_in_order() -> None:
    engine = Engine()
    tubes = [engine.open_tube(name) for name in (b"zz", b"1.5", b"null")]
    assert parse_list(stats.tube_list(tubes)) == ["zz", "1.5", "null"]
