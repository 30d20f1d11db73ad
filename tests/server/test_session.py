from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.server.session import Session
from beanstalkt.server.tube import Tube


@pytest.fixture
def unsent() -> list[Session]:
    return []


@pytest.fixture
def session(unsent: list[Session]) -> Session:
    return Session(7, Tube(b"default", 1), unsent)


def test_a_new_session_has_nothing_to_do(session: Session, unsent: list[Session]) -> None:
    assert session.used_tube.name == b"default"
    assert not session.has_replies
    assert session.take_replies() == b""
    assert not any((session.waiting, session.closing, session.stalled, session.half_closed))
    assert unsent == []


def test_it_reports_its_first_reply_only_until_replies_are_taken(
    session: Session, unsent: list[Session]
) -> None:
    session.reply(b"one")
    session.reply(b"two")
    assert unsent == [session]
    session.take_replies()
    session.reply(b"three")
    assert unsent == [session, session]


@given(st.lists(st.lists(st.binary(max_size=5), min_size=1)))
def test_replies_are_taken_whole_and_in_order(replies: list[list[bytes]]) -> None:
    session = Session(7, Tube(b"default", 1), [])
    for pieces in replies:
        session.reply(*pieces)
    whole = b"".join(b"".join(pieces) for pieces in replies)
    assert session.has_replies == bool(replies)
    assert session.replies_size == len(whole)
    assert session.take_replies() == whole
    assert not session.has_replies
    assert session.replies_size == 0
