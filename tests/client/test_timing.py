"""The delays between attempts; what the reconnecting does with them is tested with servers."""

from __future__ import annotations

import math
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import Client, InvalidArgument
from beanstalkt.client.timing import YEAR, Timing

seconds = st.floats(0.001, 1000)


@given(delay=seconds)
def test_without_a_maximum_the_delay_stays_what_it_is(delay: float) -> None:
    for pause in islice(Timing(delay, delay).delays(), 50):
        assert 0.9 * delay <= pause <= 1.1 * delay


@given(delay=seconds, maximum=seconds)
def test_it_grows_up_to_the_maximum_and_never_shrinks(delay: float, maximum: float) -> None:
    expected = delay
    for pause in islice(Timing(delay, maximum).delays(), 30):
        assert 0.9 * expected <= pause <= 1.1 * expected
        expected = max(delay, min(2 * expected, maximum))


def test_it_has_jitter() -> None:
    pauses = set(islice(Timing(1.0, 1.0).delays(), 100))
    assert len(pauses) > 50
    assert min(pauses) < 0.95
    assert max(pauses) > 1.05


def test_by_default_it_is_a_second_and_does_not_grow() -> None:
    timing = Timing()
    assert (timing.reconnect_delay, timing.max_reconnect_delay) == (1, 1)
    assert timing.response_timeout == 60


@pytest.mark.parametrize(
    "huge", [2**40, 2**63, 10**400, float("inf")], ids=["2**40", "2**63", "10**400", "inf"]
)
def test_a_time_without_end_is_no_limit(huge: float) -> None:
    timing = Timing(1, huge, huge)
    assert timing.response_timeout == math.inf
    pauses = list(islice(timing.delays(), 2000))
    assert max(pauses) <= 1.1 * YEAR
    with pytest.raises(InvalidArgument, match="reconnect_delay"):
        Timing(huge, huge)
    Client(connect_timeout=huge, response_timeout=huge, max_reconnect_delay=huge)
    with pytest.raises(InvalidArgument, match="reconnect_delay"):
        Client(reconnect_delay=huge)
