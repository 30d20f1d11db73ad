"""Fixtures of an engine without sockets, whose clock the test moves."""

from __future__ import annotations

import pytest

from ..support.talk import Line, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def line(talk: Talk) -> Line:
    return talk.connect()
