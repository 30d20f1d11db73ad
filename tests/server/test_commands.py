"""The table of commands, and what each does to the queue; times are in test_engine."""

from __future__ import annotations

import pytest

from beanstalkt.protocol.arguments import Number
from beanstalkt.protocol.commands import COMMANDS
from beanstalkt.server.commands import PREFIXES, ROWS, finish_put

from ..support.talk import Line, Talk


def test_every_command_of_the_protocol_has_a_row() -> None:
    assert {verb.decode() for verb in ROWS} == {*COMMANDS, "quit"}


@pytest.mark.parametrize("verb", sorted(set(COMMANDS) - {"kick"}))
def test_the_limits_of_numbers_are_those_of_the_protocol(verb: str) -> None:
    limits = [
        each.limit if isinstance(each, Number) else None for each in COMMANDS[verb].arguments
    ]
    row = ROWS[verb.encode()]
    assert row.limits[: len(limits)] == tuple(limits)
    assert len(row.limits) == row.pattern.groups


def test_every_verb_without_arguments_is_recognised_by_the_beginning_of_a_line() -> None:
    assert set(PREFIXES) == {
        b"quit",
        b"pause-tube",
        *(verb.encode() for verb, command in COMMANDS.items() if not command.arguments),
    }


def test_no_verb_is_hidden_by_a_shorter_one_before_it() -> None:
    for place, verb in enumerate(PREFIXES):
        assert not any(verb.startswith(earlier) for earlier in PREFIXES[:place])


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        # Job 1 is reserved by this connection, 2 by another, 3 is ready, 4 delayed, 5 buried.
        (b"delete 1", b"DELETED\r\n"),
        (b"delete 2", b"NOT_FOUND\r\n"),
        (b"delete 3", b"DELETED\r\n"),
        (b"delete 4", b"DELETED\r\n"),
        (b"delete 5", b"DELETED\r\n"),
        (b"delete 6", b"NOT_FOUND\r\n"),
        (b"release 1 0 0", b"RELEASED\r\n"),
        (b"release 2 0 0", b"NOT_FOUND\r\n"),
        (b"release 3 0 0", b"NOT_FOUND\r\n"),
        (b"bury 1 0", b"BURIED\r\n"),
        (b"bury 2 0", b"NOT_FOUND\r\n"),
        (b"bury 5 0", b"NOT_FOUND\r\n"),
        (b"touch 1", b"TOUCHED\r\n"),
        (b"touch 2", b"NOT_FOUND\r\n"),
        (b"touch 3", b"NOT_FOUND\r\n"),
        (b"reserve-job 1", b"NOT_FOUND\r\n"),
        (b"reserve-job 2", b"NOT_FOUND\r\n"),
        (b"reserve-job 3", b"RESERVED 3 1\r\n3\r\n"),
        (b"reserve-job 4", b"RESERVED 4 1\r\n4\r\n"),
        (b"reserve-job 5", b"RESERVED 5 1\r\n5\r\n"),
        (b"kick-job 1", b"NOT_FOUND\r\n"),
        (b"kick-job 3", b"NOT_FOUND\r\n"),
        (b"kick-job 4", b"KICKED\r\n"),
        (b"kick-job 5", b"KICKED\r\n"),
        (b"peek 2", b"FOUND 2 1\r\n2\r\n"),
        (b"peek 6", b"NOT_FOUND\r\n"),
        (b"peek-ready", b"FOUND 3 1\r\n3\r\n"),
        (b"peek-delayed", b"FOUND 4 1\r\n4\r\n"),
        (b"peek-buried", b"FOUND 5 1\r\n5\r\n"),
        (b"kick 10", b"KICKED 1\r\n"),
        (b"kick 0", b"KICKED 0\r\n"),
        (b"kick -1 and more", b"KICKED 1\r\n"),
        (b"kick 4294967296", b"KICKED 0\r\n"),
        (b"kick 18446744073709551616", b"BAD_FORMAT\r\n"),
        (b"stats-job 6", b"NOT_FOUND\r\n"),
        (b"stats-tube nowhere", b"NOT_FOUND\r\n"),
        (b"pause-tube nowhere 1", b"NOT_FOUND\r\n"),
        (b"pause-tube -a 1", b"BAD_FORMAT\r\n"),
        (b"ignore default", b"NOT_IGNORED\r\n"),
        (b"ignore nowhere", b"WATCHING 1\r\n"),
        (b"watch default", b"WATCHING 1\r\n"),
        (b"watch a", b"WATCHING 2\r\n"),
        (b"use a", b"USING a\r\n"),
        (b"list-tube-used", b"USING default\r\n"),
        (b"list-tubes", b"OK 14\r\n---\n- default\n\r\n"),
        (b"list-tubes-watched", b"OK 14\r\n---\n- default\n\r\n"),
    ],
)
def test_replies(talk: Talk, line: Line, command: bytes, reply: bytes) -> None:
    other = talk.connect()
    for number in range(1, 6):
        line.put(b"%d" % number, delay=1000 if number == 4 else 0)
    for each, text in (
        (line, b"reserve-job 1"),
        (other, b"reserve-job 2"),
        (line, b"reserve-job 5"),
        (line, b"bury 5 0"),
    ):
        each.say(text)
    assert line.say(command) == reply


def test_buried_jobs_are_kicked_before_delayed_ones(line: Line) -> None:
    for number in (1, 2):
        line.put()
        line.say(b"reserve-job %d" % number)
        line.say(b"bury %d 0" % number)
    line.put(delay=1000)
    assert line.say(b"kick 1") == b"KICKED 1\r\n"
    assert line.say(b"peek-buried") == b"FOUND 2 0\r\n\r\n"
    assert line.say(b"kick 5") == b"KICKED 1\r\n"
    assert line.say(b"kick 5") == b"KICKED 1\r\n"
    assert line.say(b"peek-delayed") == b"NOT_FOUND\r\n"


def test_a_job_counts_what_is_done_to_it(line: Line) -> None:
    line.put(ttr=100)
    for text in (b"reserve", b"release 1 0 0", b"reserve", b"bury 1 0", b"kick-job 1"):
        line.say(text)
    stats = line.stats(b"stats-job 1")
    counts = {key: stats[key] for key in ("reserves", "releases", "buries", "kicks", "timeouts")}
    assert counts == {
        "reserves": "2",
        "releases": "1",
        "buries": "1",
        "kicks": "1",
        "timeouts": "0",
    }


def test_a_tube_counts_its_deletes(line: Line) -> None:
    line.put()
    line.say(b"delete 1")
    line.say(b"delete 1")
    assert line.stats(b"stats-tube default")["cmd-delete"] == "1"


@pytest.mark.parametrize(
    ("command", "producers", "workers"),
    [
        (b"put 0 0 1 0\r\n\r\n", "1", "0"),
        (b"reserve-with-timeout 0", "0", "1"),
        (b"reserve-job 1", "0", "1"),
        (b"reserve-job 2", "0", "0"),
        (b"peek 1", "0", "0"),
    ],
)
def test_who_puts_is_a_producer_and_who_reserves_is_a_worker(
    talk: Talk, line: Line, command: bytes, producers: str, workers: str
) -> None:
    other = talk.connect()
    other.put()
    other.close()
    line.say(command)
    stats = line.stats(b"stats")
    assert (stats["current-producers"], stats["current-workers"]) == (producers, workers)


def test_quit_ends_a_session_without_a_reply(line: Line) -> None:
    assert line.send(b"quit\r\nuse a\r\n") == b""
    assert line.session.closing


def test_a_tube_that_nothing_refers_to_does_not_exist(talk: Talk, line: Line) -> None:
    for command in (b"use a", b"watch b", b"use default", b"ignore b"):
        line.say(command)
    assert set(talk.engine.tubes) == {b"default"}


def test_a_body_without_a_put_is_a_defect_of_the_server(talk: Talk, line: Line) -> None:
    with pytest.raises(RuntimeError, match="without a put"):
        finish_put(talk.engine, line.session, b"\r\n")


def test_a_put_that_fails_uses_up_an_id(line: Line) -> None:
    assert line.send(b"put 0 0 1 1\r\nxyz") == b"EXPECTED_CRLF\r\n"
    assert line.put() == b"INSERTED 2\r\n"


def test_draining(talk: Talk, line: Line) -> None:
    line.put()
    talk.engine.draining = True
    assert line.put() == b"DRAINING\r\n"
    assert line.send(b"put 0 0 1 1\r\nxyz") == b"EXPECTED_CRLF\r\n"
    assert line.put(b"x" * 65536) == b"JOB_TOO_BIG\r\n"
    assert line.say(b"reserve") == b"RESERVED 1 0\r\n\r\n"
    assert line.stats(b"stats")["draining"] == "true"


def test_a_half_sent_put_can_be_looked_at_and_goes_with_its_connection(talk: Talk) -> None:
    half = talk.connect(b"use a")
    half.send(b"put 0 0 1 5\r\nab")
    other = talk.connect()
    assert other.stats(b"stats-job 1")["state"] == "invalid"
    assert other.say(b"peek 1") == b"FOUND 1 5\r\n" + bytes(5) + b"\r\n"
    assert other.say(b"delete 1") == b"NOT_FOUND\r\n"
    assert other.say(b"kick-job 1") == b"NOT_FOUND\r\n"
    half.close()
    assert other.say(b"peek 1") == b"NOT_FOUND\r\n"
    assert other.say(b"list-tubes") == b"OK 14\r\n---\n- default\n\r\n"


@pytest.mark.parametrize("size", [0, 10, 2**30])
def test_the_limit_of_a_body_is_what_it_was_set_to(size: int) -> None:
    talk = Talk(max_job_size=size)
    talk.connect().send(b"put 0 0 1 %d\r\n" % size)
    assert talk.connect().stats(b"stats-job 1")["state"] == "invalid"
    talk.connect().send(b"put 0 0 1 %d\r\n" % (size + 1))
    assert talk.connect().say(b"stats-job 2") == b"NOT_FOUND\r\n"
    assert talk.connect().stats(b"stats")["max-job-size"] == str(size)
