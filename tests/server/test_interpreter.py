"""How lines become commands, in which order they are executed, and when they wait."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.engine import Engine
from beanstalkt.server.interpreter import MAX_UNSENT, Interpreter

from ..support.talk import Line, Talk

PUT = b"put 0 0 100 0\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (b"", b"UNKNOWN_COMMAND\r\n"),
        (b" use a", b"UNKNOWN_COMMAND\r\n"),
        (b"USE a", b"UNKNOWN_COMMAND\r\n"),
        (b"used a", b"UNKNOWN_COMMAND\r\n"),
        (b"delete", b"UNKNOWN_COMMAND\r\n"),
        (b"use", b"UNKNOWN_COMMAND\r\n"),
        (b"delete ", b"BAD_FORMAT\r\n"),
        (b"delete 5 ", b"BAD_FORMAT\r\n"),
        (b"delete -5", b"BAD_FORMAT\r\n"),
        (b"delete   5", b"NOT_FOUND\r\n"),
        (b"delete 18446744073709551615", b"NOT_FOUND\r\n"),
        (b"delete 18446744073709551616", b"BAD_FORMAT\r\n"),
        (b"release 1 4294967295 4294967295", b"NOT_FOUND\r\n"),
        (b"release 1 4294967296 0", b"BAD_FORMAT\r\n"),
        (b"use  a", b"BAD_FORMAT\r\n"),
        (b"use -a", b"BAD_FORMAT\r\n"),
        (b"use " + b"a" * 201, b"BAD_FORMAT\r\n"),
        (b"use a\0", b"BAD_FORMAT\r\n"),
        (b"\0", b"BAD_FORMAT\r\n"),
        (b"reserve-job", b"BAD_FORMAT\r\n"),
        (b"peek-readyx", b"BAD_FORMAT\r\n"),
        (b"stats-job", b"BAD_FORMAT\r\n"),
        (b"list-tubes-watched x", b"BAD_FORMAT\r\n"),
        (b"l" * 300, b"BAD_FORMAT\r\n"),
    ],
)
def test_a_line_is_recognised_or_refused(line: Line, text: bytes, reply: bytes) -> None:
    assert line.say(text) == reply
    assert line.say(b"use a") == b"USING a\r\n"


def test_only_commands_that_were_understood_are_counted(talk: Talk, line: Line) -> None:
    for text in (b"use a", b"use -a", b"delete 5", b"delete 5 ", b"stats-job", b"nonsense"):
        line.say(text)
    assert talk.engine.command_counts == {"use": 1, "delete": 1}


COMMANDS = [
    PUT,
    b"put 0 0 100 6\r\nuse a\r\r\n",
    b"put 0 0 100 70000\r\n" + b"x" * 70000 + b"\r\n",
    b"put 0 0 100 1\r\nxyz",
    b"reserve-with-timeout 0\r\n",
    b"delete 1\r\n",
    b"watch a\r\n",
    b"list-tubes\r\n",
    b"nonsense\r\n",
    b"x" * 500 + b"\r\n",
]


@given(st.lists(st.sampled_from(COMMANDS)), st.lists(st.floats(0, 1), max_size=5))
def test_how_the_bytes_are_cut_changes_no_reply(commands: list[bytes], cuts: list[float]) -> None:
    stream = b"".join(commands)
    line = Talk().connect()
    received, start = b"", 0
    for end in [*sorted(int(cut * len(stream)) for cut in cuts), len(stream)]:
        received += line.send(stream[start:end])
        start = end
    assert received == Talk().connect().send(stream)


def test_the_body_of_a_put_that_is_too_big_is_not_executed(line: Line) -> None:
    body = b"use a\r\n" * 10_000
    assert line.put(body) == b"JOB_TOO_BIG\r\n"
    assert line.say(b"list-tube-used") == b"USING default\r\n"


def test_commands_after_a_waiting_reserve_follow_in_order(talk: Talk, line: Line) -> None:
    line.send(b"reserve-with-timeout 3\r\nreserve-with-timeout 2\r\nuse a\r\n")
    talk.sleep(3)
    assert line.hear() == b"TIMED_OUT\r\n"
    talk.sleep(2)
    assert line.hear() == b"TIMED_OUT\r\nUSING a\r\n"


def test_a_session_that_is_answered_goes_on_after_the_command_that_answered_it(
    talk: Talk, line: Line
) -> None:
    waiting = talk.connect()
    waiting.send(b"reserve\r\ndelete 1\r\nreserve-with-timeout 0\r\n")
    replies = line.send(PUT + b"stats-job 1\r\n")
    assert replies.startswith(b"INSERTED 1\r\nOK")
    assert b"state: reserved" in replies
    assert waiting.hear() == b"RESERVED 1 0\r\n\r\nDELETED\r\nTIMED_OUT\r\n"
    assert not talk.engine.answered


def test_sessions_that_answer_each_other_all_go_on(talk: Talk) -> None:
    lines = [talk.connect() for _ in range(50)]
    for each in lines:
        each.send(b"reserve\r\n" + PUT)
    talk.connect().send(PUT)
    assert {each.hear() for each in lines} == {
        b"RESERVED %d 0\r\n\r\nINSERTED %d\r\n" % (number, number + 1) for number in range(1, 51)
    }


def test_the_time_of_each_command_is_its_own() -> None:
    engine = Engine(clock=itertools.count().__next__)
    session = engine.connect()
    Interpreter(engine).receive(session, PUT + b"peek 1\r\n" * 10 + b"stats-job 1\r\n")
    # The clock was read for the body, for each peek and for stats-job since the job was made.
    assert b"\nage: 12\n" in session.take_replies()


class TestHalfClose:
    def test_a_waiting_reserve_is_answered_and_what_follows_is_executed(
        self, talk: Talk, line: Line
    ) -> None:
        line.send(b"reserve\r\nuse a\r\nreserve\r\n")
        talk.interpreter.half_close(line.session)
        assert line.hear() == b"TIMED_OUT\r\nUSING a\r\nTIMED_OUT\r\n"
        assert line.session.closing

    @pytest.mark.parametrize("half", [b"", b"use a", b"put 0 0 1 5\r\nab"])
    def test_half_a_command_is_not_executed(self, talk: Talk, line: Line, half: bytes) -> None:
        line.send(half)
        assert not line.session.closing
        talk.interpreter.half_close(line.session)
        assert line.hear() == b""
        assert line.session.closing


class TestClose:
    def test_jobs_go_to_those_who_wait_for_them(self, talk: Talk, line: Line) -> None:
        line.send(PUT + b"reserve\r\n")
        waiting = talk.connect()
        waiting.send(b"reserve\r\nuse a\r\n")
        line.close()
        assert waiting.hear() == b"RESERVED 1 0\r\n\r\nUSING a\r\n"

    def test_a_waiting_session_leaves_nothing(self, talk: Talk, line: Line) -> None:
        line.send(b"watch a\r\nreserve-with-timeout 5\r\nuse b\r\n")
        line.close()
        assert not talk.engine.sessions
        assert set(talk.engine.tubes) == {b"default"}
        assert not talk.engine.default_tube.waiting
        assert talk.engine.next_deadline is None

    def test_the_second_time_nothing_happens(self, talk: Talk, line: Line) -> None:
        line.close()
        talk.clock.now += 1
        line.close()
        assert talk.engine.default_tube.user_count == 0


def test_commands_wait_while_too_many_replies_are_unsent(talk: Talk, line: Line) -> None:
    line.put(b"x" * 60_000)
    talk.interpreter.receive(line.session, b"peek 1\r\n" * 500)
    assert line.session.stalled
    assert len(line.session.take_replies()) < MAX_UNSENT + 65536
    assert line.hear().count(b"FOUND") > 490
