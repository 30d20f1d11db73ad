"""What an answer means, and what of it gets into the log."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.protocol.arguments import MAX_NUMBER
from beanstalkt.worker.handlers.http.response import (
    MAX_SHOWN,
    HTTPResponse,
    delay_of,
    first_lines,
    outcome_of_response,
    shown_line,
)
from beanstalkt.worker.policy.decision import RELEASE, Action, Policy, Verb, decide
from beanstalkt.worker.policy.outcome import Kind, Outcome

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
JUST_200 = frozenset({200})
ALL_2XX = frozenset(range(200, 300))


def judged(answer: HTTPResponse, successes: frozenset[int] = JUST_200) -> Outcome:
    return outcome_of_response(answer, successes, NOW, {})


@given(st.integers(100, 999))
def test_only_three_statuses_are_no_permanent_fail(status: int) -> None:
    expected = {200: Kind.SUCCESS, 429: Kind.TEMPORARY_FAIL, 503: Kind.TEMPORARY_FAIL}
    assert judged(HTTPResponse(status)).kind is expected.get(status, Kind.PERMANENT_FAIL)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_more_statuses_can_be_successes(status: int) -> None:
    assert judged(HTTPResponse(status), ALL_2XX).kind is Kind.SUCCESS


@pytest.mark.parametrize("status", [199, 300, 301, 404, 500])
def test_not_more_than_those(status: int) -> None:
    assert judged(HTTPResponse(status), ALL_2XX).kind is Kind.PERMANENT_FAIL


def test_an_answer_without_its_end_is_no_success() -> None:
    outcome = judged(HTTPResponse(200, "OK", broken="it was cut off"))
    assert (outcome.kind, outcome.error) == (Kind.TEMPORARY_FAIL, "status 200 OK; it was cut off")
    assert judged(HTTPResponse(404, broken="it was cut off")).kind is Kind.PERMANENT_FAIL
    assert judged(HTTPResponse(503, broken="it was cut off")).kind is Kind.TEMPORARY_FAIL


def test_the_log_gets_the_status_and_the_beginning() -> None:
    outcome = outcome_of_response(
        HTTPResponse(500, "Oh no", beginning=b"a\nb\nc"), JUST_200, NOW, {"url": "u"}
    )
    assert outcome.error == "status 500 Oh no"
    assert outcome.details == {"url": "u", "status": 500, "answer": "a\nb"}
    assert judged(HTTPResponse(200, beginning=b"sent 5\n")).details == {
        "status": 200,
        "answer": "sent 5",
    }
    assert judged(HTTPResponse(200)).details == {"status": 200}


DELAYS = {
    "0": 0,
    "120": 120,
    " 120 ": 120,
    "4294967295": 4294967295,
    "99999999999": MAX_NUMBER,
    "9" * 5000: MAX_NUMBER,
    "Wed, 01 May 2024 12:01:30 GMT": 90,
    "Wed, 01 May 2024 12:01:30 -0000": 90,
    "Wed, 01 May 2024 14:01:30 +0200": 90,
    "Wednesday, 01-May-24 12:01:30 GMT": 90,
    "Wed May  1 12:01:30 2024": 90,
    "Wed, 01 May 2024 11:00:00 GMT": 0,
    "": None,
    "soon": None,
    "-5": None,
    "1.5": None,
    "٣": None,
    "Wed, 99 May 2024 12:01:30 GMT": None,
    "Wed, 01 May 99999 12:01:30 GMT": None,
    "Wed, 01 May 2024 12:01:30 +99999999999": None,
}


@pytest.mark.parametrize(("text", "delay"), DELAYS.items(), ids=[key[:40] for key in DELAYS])
def test_retry_after(text: str, delay: int | None) -> None:
    assert delay_of(text, NOW) == delay


@given(st.text(max_size=60))
def test_any_retry_after_is_a_delay_or_nothing(text: str) -> None:
    delay = delay_of(text, NOW)
    assert delay is None or delay >= 0


def test_retry_after_is_the_delay_of_the_release_within_limits() -> None:
    policy = Policy(on_temporary_fail=RELEASE)
    for text, expected in {"5": 5, "999999": 3600, "soon": 60}.items():
        outcome = judged(HTTPResponse(503, retry_after=text))
        assert decide(outcome, policy, 1, 0.0) == Action(Verb.RELEASE, expected)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"\r\n\r\n", ""),
        (b"done", "done"),
        (b"\n\n one \r\n two \r\n three", "one\ntwo"),
        (b"one\n\nthree", "one\n"),
        (b"\x1b[31mred\x07\x00", r"\x1b[31mred\x07\x00"),
        ("\u202egnp\u2066".encode(), r"\u202egnp\u2066"),
        ("héllo ✓".encode(), "héllo ✓"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\tb", r"a\tb"),
    ],
)
def test_the_first_two_lines(data: bytes, shown: str) -> None:
    assert first_lines(data) == shown


@given(st.binary(max_size=5000) | st.text(max_size=3000).map(str.encode))
def test_whatever_was_answered_the_log_gets_little_and_harmless_text(data: bytes) -> None:
    shown = first_lines(data)
    assert len(shown.encode()) <= MAX_SHOWN
    assert shown.count("\n") <= 1
    assert shown.replace("\n", "").isprintable()


def test_a_long_line_is_cut() -> None:
    assert first_lines(b"x" * 5000) == "x" * MAX_SHOWN
    assert len(first_lines("é".encode() * 5000).encode()) == MAX_SHOWN
    assert len(shown_line("x" * 5000)) == MAX_SHOWN
