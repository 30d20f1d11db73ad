"""What happens as time passes, by a clock that the test moves; and the costs of the queue."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import given

from beanstalkt.server.engine import Engine
from beanstalkt.server.stored_job import JobState

from ..support.sequences import SEQUENCE, Close, HalfClose, Send, Step
from ..support.talk import Line, Talk


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


def test_a_reserve_that_finds_a_job_has_had_its_turn_of_waiting(talk: Talk, line: Line) -> None:
    line.put()
    line.say(b"reserve")
    first, second = talk.connect(b"reserve"), talk.connect(b"reserve")
    line.put()
    assert second.hear() == b"RESERVED 2 0\r\n\r\n"
    line.put()
    assert first.hear() == b"RESERVED 3 0\r\n\r\n"


def check_references(engine: Engine) -> None:
    """Check that all counts and cross-references between jobs, tubes and sessions agree."""
    assert list(engine.tube_order) == [engine.tubes[tube.name] for tube in engine.tube_order]
    for name, tube in engine.tubes.items():
        jobs = [job for job in engine.jobs.values() if job.tube_name == name]
        states = Counter(job.state for job in jobs)
        assert tube.job_count == len(jobs)
        assert len(tube.ready) == states[JobState.READY]
        assert len(tube.delayed) == states[JobState.DELAYED]
        assert len(tube.buried) == states[JobState.BURIED]
        assert tube.reserved_count == states[JobState.RESERVED]
        assert tube.urgent_count == sum(job.priority < 1024 for job in tube.ready)
        sessions = engine.sessions.values()
        assert tube.user_count == sum(session.used_tube is tube for session in sessions)
        assert tube.watcher_count == sum(tube in session.watched for session in sessions)
        assert set(tube.waiting) == {s.number for s in sessions if s.waiting and tube in s.watched}
        assert not tube.unused or tube is engine.default_tube
    for job in engine.jobs.values():
        assert job.tube_name in engine.tubes
        assert (job.holder in engine.sessions) == (job.state is JobState.RESERVED)
    for session in engine.sessions.values():
        holder = session.number
        assert set(session.held) == {j for j in engine.jobs.values() if j.holder == holder}


@given(SEQUENCE)
def test_jobs_tubes_and_sessions_agree_about_each_other(steps: list[Step]) -> None:
    talk = Talk()
    lines: dict[int, Line] = {}
    for step in steps:
        if step.connection not in lines:
            lines[step.connection] = talk.connect()
        line = lines[step.connection]
        if isinstance(step, Send):
            line.send(b"".join(step.commands))
        elif isinstance(step, HalfClose):
            talk.interpreter.half_close(line.session)
            line.hear()
        if isinstance(step, Close) or line.session.closing:
            lines.pop(step.connection).close()
        check_references(talk.engine)
        talk.sleep(1)
        check_references(talk.engine)
    for session in list(talk.engine.sessions.values()):
        talk.interpreter.close(session)
    check_references(talk.engine)
