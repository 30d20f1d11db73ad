"""What time does, by a clock that the test moves; and what the queue costs."""

from __future__ import annotations

import time

import pytest

from ..support.talk import Line, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def line(talk: Talk) -> Line:
    return talk.connect()


class TestDelay:
    def test_a_delayed_job_becomes_ready_when_its_time_has_come(
        self, talk: Talk, line: Line
    ) -> None:
        line.put(b"x", delay=5)
        talk.sleep(4.999)
        assert line.say(b"reserve-with-timeout 0") == b"TIMED_OUT\r\n"
        assert line.stats(b"stats-job 1")["time-left"] == "0"
        talk.sleep(0.001)
        assert line.say(b"reserve-with-timeout 0") == b"RESERVED 1 1\r\nx\r\n"

    def test_who_waits_gets_it_at_once(self, talk: Talk, line: Line) -> None:
        line.put(delay=5)
        waiting = talk.connect(b"reserve")
        talk.sleep(5)
        assert waiting.hear() == b"RESERVED 1 0\r\n\r\n"

    def test_due_first_comes_first_whatever_the_priority(self, talk: Talk, line: Line) -> None:
        line.put(delay=9, priority=0)
        line.put(delay=5, priority=9)
        assert line.say(b"peek-delayed") == b"FOUND 2 0\r\n\r\n"
        talk.sleep(5)
        assert line.say(b"peek-delayed") == b"FOUND 1 0\r\n\r\n"

    def test_a_release_may_delay(self, talk: Talk, line: Line) -> None:
        line.put()
        line.say(b"reserve")
        assert line.say(b"release 1 7 3") == b"RELEASED\r\n"
        stats = line.stats(b"stats-job 1")
        assert (stats["state"], stats["pri"], stats["delay"], stats["time-left"]) == (
            "delayed",
            "7",
            "3",
            "3",
        )
        talk.sleep(3)
        assert line.stats(b"stats-job 1")["state"] == "ready"

    def test_the_longest_delay_does_no_harm(self, talk: Talk, line: Line) -> None:
        line.put(delay=2**32 - 1)
        talk.sleep(2**32 - 2)
        assert line.stats(b"stats-job 1")["time-left"] == "1"


class TestTimeToRun:
    def test_a_job_comes_back_when_its_time_is_over(self, talk: Talk, line: Line) -> None:
        line.put(ttr=5)
        line.say(b"reserve")
        talk.sleep(4.999)
        assert line.stats(b"stats-job 1")["state"] == "reserved"
        talk.sleep(0.001)
        stats = line.stats(b"stats-job 1")
        assert (stats["state"], stats["timeouts"], stats["time-left"]) == ("ready", "1", "0")
        assert line.stats(b"stats")["job-timeouts"] == "1"
        assert line.say(b"touch 1") == b"NOT_FOUND\r\n"
        assert line.say(b"delete 1") == b"DELETED\r\n"

    def test_another_gets_it_at_once(self, talk: Talk, line: Line) -> None:
        line.put(ttr=5)
        line.say(b"reserve")
        waiting = talk.connect(b"reserve")
        talk.sleep(5)
        assert waiting.hear() == b"RESERVED 1 0\r\n\r\n"
        assert line.say(b"delete 1") == b"NOT_FOUND\r\n"

    def test_touch_starts_it_afresh(self, talk: Talk, line: Line) -> None:
        line.put(ttr=5)
        line.say(b"reserve")
        talk.sleep(4)
        assert line.say(b"touch 1") == b"TOUCHED\r\n"
        talk.sleep(4)
        assert line.stats(b"stats-job 1")["state"] == "reserved"
        assert line.stats(b"stats-job 1")["time-left"] == "1"

    def test_the_time_of_a_job_that_is_handed_on_begins_then(self, talk: Talk, line: Line) -> None:
        line.put(ttr=50)
        line.say(b"reserve")
        waiting = talk.connect(b"reserve")
        # Nothing else happens, so nobody looks at the clock until the connection goes.
        talk.clock.now += 40
        line.close()
        waiting.hear()
        assert waiting.stats(b"stats-job 1")["time-left"] == "50"


class TestDeadlineSoon:
    def test_a_reserve_in_the_last_second_is_warned(self, talk: Talk, line: Line) -> None:
        line.put(ttr=5)
        line.say(b"reserve")
        talk.sleep(3.9)
        assert line.say(b"reserve-with-timeout 0") == b"TIMED_OUT\r\n"
        talk.sleep(0.1)
        assert line.say(b"reserve-with-timeout 0") == b"DEADLINE_SOON\r\n"
        assert line.say(b"reserve") == b"DEADLINE_SOON\r\n"
        assert line.say(b"touch 1") == b"TOUCHED\r\n"
        assert line.say(b"reserve-with-timeout 0") == b"TIMED_OUT\r\n"

    def test_it_reaches_a_reserve_that_waits(self, talk: Talk, line: Line) -> None:
        line.put(ttr=5)
        line.say(b"reserve")
        line.say(b"reserve-with-timeout 100")
        talk.sleep(3.999)
        assert line.hear() == b""
        talk.sleep(0.001)
        assert line.hear() == b"DEADLINE_SOON\r\n"

    def test_a_job_wins_over_it(self, talk: Talk, line: Line) -> None:
        line.put(ttr=1)
        line.say(b"reserve")
        line.put()
        assert line.say(b"reserve") == b"RESERVED 2 0\r\n\r\n"

    def test_jobs_of_a_paused_tube_do_not(self, talk: Talk, line: Line) -> None:
        line.put(ttr=1)
        line.say(b"reserve")
        line.put()
        line.say(b"pause-tube default 100")
        assert line.say(b"reserve") == b"DEADLINE_SOON\r\n"

    def test_reserve_job_never_gets_it(self, talk: Talk, line: Line) -> None:
        line.put(ttr=1)
        line.say(b"reserve")
        line.put()
        assert line.say(b"reserve-job 2") == b"RESERVED 2 0\r\n\r\n"
        assert line.say(b"reserve-job 1") == b"NOT_FOUND\r\n"

    def test_the_job_of_another_is_no_concern(self, talk: Talk, line: Line) -> None:
        line.put(ttr=1)
        line.say(b"reserve")
        assert talk.connect().say(b"reserve-with-timeout 0") == b"TIMED_OUT\r\n"


class TestTimeout:
    def test_a_reserve_waits_as_long_as_it_said(self, talk: Talk, line: Line) -> None:
        line.say(b"reserve-with-timeout 3")
        talk.sleep(2.999)
        assert line.hear() == b""
        assert talk.connect().stats(b"stats-tube default")["current-waiting"] == "1"
        talk.sleep(0.001)
        assert line.hear() == b"TIMED_OUT\r\n"
        assert talk.connect().stats(b"stats-tube default")["current-waiting"] == "0"

    def test_commands_behind_it_follow_in_order(self, talk: Talk, line: Line) -> None:
        line.send(b"reserve-with-timeout 3\r\nreserve-with-timeout 2\r\nuse a\r\n")
        talk.sleep(3)
        assert line.hear() == b"TIMED_OUT\r\n"
        talk.sleep(2)
        assert line.hear() == b"TIMED_OUT\r\nUSING a\r\n"


class TestPause:
    def test_nothing_is_reserved_until_it_is_over(self, talk: Talk, line: Line) -> None:
        line.put()
        line.say(b"pause-tube default 5")
        waiting = talk.connect(b"reserve")
        talk.sleep(3)
        stats = line.stats(b"stats-tube default")
        assert (stats["pause"], stats["pause-time-left"]) == ("5", "2")
        assert waiting.hear() == b""
        talk.sleep(2)
        assert waiting.hear() == b"RESERVED 1 0\r\n\r\n"
        assert line.stats(b"stats-tube default")["pause"] == "0"

    def test_a_pause_replaces_the_one_before(self, talk: Talk, line: Line) -> None:
        line.put()
        line.say(b"pause-tube default 5")
        line.say(b"pause-tube default 50")
        talk.sleep(49)
        assert line.say(b"reserve-with-timeout 0") == b"TIMED_OUT\r\n"

    def test_zero_ends_it(self, talk: Talk, line: Line) -> None:
        line.put()
        line.say(b"pause-tube default 5")
        waiting = talk.connect(b"reserve")
        assert line.say(b"pause-tube default 0") == b"PAUSED\r\n"
        assert waiting.hear() == b"RESERVED 1 0\r\n\r\n"
        assert line.stats(b"stats-tube default")["cmd-pause-tube"] == "2"

    def test_it_vanishes_with_its_tube(self, talk: Talk, line: Line) -> None:
        line.say(b"use a")
        line.say(b"pause-tube a 5")
        line.say(b"use default")
        assert talk.engine.next_deadline is None
        line.say(b"use a")
        assert line.stats(b"stats-tube a")["pause"] == "0"


def test_nothing_is_due_when_nothing_can_happen(talk: Talk, line: Line) -> None:
    line.put()
    line.put(delay=10, ttr=100)
    line.say(b"reserve")
    assert talk.engine.next_deadline == talk.clock.now + 10
    line.say(b"delete 2")
    assert talk.engine.next_deadline == talk.clock.now + 100
    line.say(b"bury 1 0")
    assert talk.engine.next_deadline is None
    line.say(b"reserve-with-timeout 7")
    assert talk.engine.next_deadline == talk.clock.now + 7
    line.close()
    assert talk.engine.next_deadline is None


def test_a_reserve_takes_the_best_of_all_its_tubes(talk: Talk, line: Line) -> None:
    line.put(priority=5)
    line.say(b"use a")
    line.put(priority=5)
    line.put(priority=4)
    line.say(b"watch a")
    assert [line.say(b"reserve") for _ in range(3)] == [
        b"RESERVED 3 0\r\n\r\n",
        b"RESERVED 1 0\r\n\r\n",
        b"RESERVED 2 0\r\n\r\n",
    ]


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


def test_replies_that_nobody_takes_stop_the_work(talk: Talk, line: Line) -> None:
    line.put(b"x" * 60_000)
    talk.interpreter.receive(line.session, b"peek 1\r\n" * 500)
    assert line.session.stalled
    assert len(line.session.take_replies()) < 512 * 1024
    assert line.hear().count(b"FOUND") > 490


def per_job(jobs: int) -> float:
    """Seconds that a job costs, put, reserved and deleted, with so many in the tube."""
    talk = Talk()
    line = talk.connect()
    started = time.process_time()
    line.send(b"put 1 0 100 0\r\n\r\n" * jobs)
    line.send(b"reserve\r\n" * jobs)
    line.send(b"".join(b"release %d 1 0\r\n" % number for number in range(1, jobs + 1)))
    line.send(b"".join(b"delete %d\r\n" % number for number in range(1, jobs + 1)))
    assert not talk.engine.jobs
    return (time.process_time() - started) / jobs


def test_many_jobs_in_a_tube_cost_no_more_each() -> None:
    # Ten times is far more than noise, and far less than what one list for all would cost.
    assert per_job(50_000) < 10 * min(per_job(500) for _ in range(3))


def test_kicking_many_is_no_more_than_linear(talk: Talk, line: Line) -> None:
    jobs = 50_000
    line.send(b"put 1 0 100 0\r\n\r\n" * jobs)
    line.send(b"reserve\r\n" * jobs)
    line.send(b"".join(b"bury %d 1\r\n" % number for number in range(1, jobs + 1)))
    started = time.process_time()
    assert line.say(b"kick %d" % jobs) == b"KICKED %d\r\n" % jobs
    assert time.process_time() - started < 10


def test_what_is_gone_is_not_kept(talk: Talk, line: Line) -> None:
    for number in range(1, 2001):
        line.say(b"use tube-%d" % number)
        line.put(delay=number % 2)
        line.say(b"reserve-job %d" % number)
        line.say(b"delete %d" % number)
    line.say(b"use default")
    engine = talk.engine
    assert len(engine.tubes) == len(engine.tube_order) == 1
    assert not engine.jobs
    for heap in (engine._delayed, engine._reserved, engine._paused, engine._waiting):
        assert len(heap._entries) < 100


def test_a_thousand_connections_that_wait_are_all_served(talk: Talk) -> None:
    lines = [talk.connect(b"reserve") for _ in range(1000)]
    talk.connect().send(b"put 0 0 100 0\r\n\r\n" * 1000)
    assert len({line.hear() for line in lines}) == 1000
