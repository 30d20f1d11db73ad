"""The alarm: when it calls, and what it leaves in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.worker.alarm import Alarm


class Loop(asyncio.SelectorEventLoop):
    """One whose clock stands still until it is told otherwise."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let the time pass, calling all that falls due."""
        self.now += seconds
        for _ in range(5):
            self.call_soon(self.stop)
            self.run_forever()

    def timers(self) -> int:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sum(not timer.cancelled() for timer in scheduled)


def with_loop(check: Callable[[Loop, Alarm, list[str]], None]) -> None:
    loop = Loop()
    try:
        check(loop, Alarm(loop), [])
    finally:
        loop.close()


def test_it_calls_once_in_time() -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        alarm.set(10, lambda: calls.append("a"))
        loop.advance(9)
        assert not calls
        loop.advance(1)
        assert calls == ["a"]
        loop.advance(100)
        assert calls == ["a"]
        assert loop.timers() == 0

    with_loop(check)


def test_what_was_cleared_is_not_called() -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        alarm.set(10, lambda: calls.append("a"))
        alarm.clear()
        loop.advance(100)
        assert not calls
        assert loop.timers() == 0

    with_loop(check)


def test_many_short_jobs_take_one_timer() -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        for number in range(100):
            alarm.set(10, lambda number=number: calls.append(str(number)))  # type: ignore[misc]
            alarm.clear()
            loop.advance(0.01)
        assert loop.timers() == 1
        alarm.set(10, lambda: calls.append("last"))
        loop.advance(9.5)  # the timer of the first is over
        assert not calls
        loop.advance(0.5)
        assert calls == ["last"]

    with_loop(check)


def test_a_shorter_time_comes_sooner() -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        alarm.set(10, lambda: calls.append("long"))
        alarm.set(1, lambda: calls.append("short"))
        loop.advance(1)
        assert calls == ["short"]
        loop.advance(100)
        assert calls == ["short"]

    with_loop(check)


def test_a_callback_may_set_it_again() -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        def again() -> None:
            calls.append("x")
            alarm.set(5, again)

        alarm.set(5, again)
        for _ in range(4):
            loop.advance(5)
        assert len(calls) == 4
        alarm.stop()
        assert loop.timers() == 0
        loop.advance(100)
        assert len(calls) == 4

    with_loop(check)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 20)),
            st.tuples(st.just("wait"), st.integers(0, 20)),
            st.tuples(st.sampled_from(["clear", "stop"]), st.just(0)),
        ),
        max_size=30,
    )
)
def test_it_does_what_a_timer_for_each_would_do(steps: list[tuple[str, int]]) -> None:
    def check(loop: Loop, alarm: Alarm, calls: list[str]) -> None:
        due: float | None = None
        expected = 0
        for step, seconds in steps:
            if step == "set":
                alarm.set(seconds, lambda: calls.append("x"))
                due = loop.now + seconds
            elif step == "wait":
                loop.advance(seconds)
                if due is not None and due <= loop.now:
                    expected += 1
                    due = None
            else:
                alarm.clear() if step == "clear" else alarm.stop()
                due = None
            assert len(calls) == expected
            assert loop.timers() <= 1

    with_loop(check)
