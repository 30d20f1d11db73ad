"""Which jobs a selection is about."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from beanstalkt import InvalidArgument
from beanstalkt.admin import JobRecord, select

JOB = JobRecord(
    5, "mail", "ready", priority=10, age=60, delay=0, ttr=120, time_left=0,
    reserves=0, timeouts=0, releases=0, buries=0, kicks=0, body=b'{"to": "M\xc3\xbcller"}',
)  # fmt: skip


@pytest.mark.parametrize(
    "allowed",
    [
        {},
        {"tubes": "mail"},
        {"tubes": ["news", "mail"]},
        {"states": "ready"},
        {"states": ["buried", "ready"]},
        {"min_priority": 10, "max_priority": 10},
        {"min_age": 60, "max_age": 60},
        {"text": "Müller"},
        {"text": b"\xc3\xbc"},
        {"pattern": r'"to": "M.*"\}$'},
        {"since_id": 5, "until_id": 5},
    ],
)
def test_a_job_that_all_fields_allow_is_one_of_them(allowed: dict[str, Any]) -> None:
    assert select(**allowed).matches(JOB)


@pytest.mark.parametrize(
    "refused",
    [
        {"tubes": "news"},
        {"states": ["buried", "delayed", "reserved"]},
        {"min_priority": 11},
        {"max_priority": 9},
        {"min_age": 60.5},
        {"max_age": 59.5},
        {"text": "Meier"},
        {"pattern": "^to"},
        {"since_id": 6},
        {"until_id": 4},
    ],
)
def test_one_field_that_refuses_it_is_enough(refused: dict[str, Any]) -> None:
    assert not select(**refused).matches(JOB)
    assert not select(**{"tubes": "mail", **refused}).matches(JOB)


def test_a_record_without_a_body_is_none_of_those_that_the_body_decides() -> None:
    unread = replace(JOB, body=None)
    assert not select(text="").matches(unread)
    assert not select(pattern="").matches(unread)
    assert select(text="").needs_body
    assert select(text="").matches(replace(JOB, body=b""))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tubes": "-x"}, "bad tube name"),
        ({"states": "dead"}, "no state 'dead'"),
        ({"min_priority": -1}, "priority"),
        ({"max_priority": 2**32}, "priority"),
        ({"min_priority": 2, "max_priority": 1}, "above"),
        ({"min_age": -1}, "min_age"),
        ({"max_age": "1"}, "max_age"),
        ({"min_age": float("nan")}, "min_age"),
        ({"min_age": 2, "max_age": 1}, "above"),
        ({"pattern": "("}, "regular expression"),
        ({"pattern": re.compile("x")}, "one of bytes"),
        ({"pattern": 5}, "must be a str or bytes"),
        ({"text": 5}, "bytes-like or a str"),
        ({"tubes": 5}, "tubes must be a str"),
        ({"tubes": [5]}, "a tube name must be a str"),
        ({"states": [["ready"]]}, "states must be a str"),
        ({"since_id": True}, "job id"),
        ({"since_id": 3, "until_id": 2}, "above"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        select(**wrong)
