"""Where jobs go: by turns, by load, and by key."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import InvalidArgument
from beanstalkt.pool.routing import (
    LeastOutstanding,
    Rendezvous,
    RoundRobin,
    check_key,
    check_strategy,
    make_turns,
)
from beanstalkt.protocol.address import Address
from beanstalkt.protocol.servers import Server


class Place:
    def __init__(self, name: str, weight: int = 1) -> None:
        self.server = Server(name, Address(), weight)
        self.outstanding = 0


def places(**weights: int) -> list[Place]:
    return [Place(name, weight) for name, weight in weights.items()]


weights = st.lists(st.integers(1, 20), min_size=1, max_size=6)


@given(weights)
def test_turns_are_shared_by_weight(each: list[int]) -> None:
    members = [Place(f"s{number}", weight) for number, weight in enumerate(each)]
    turns = RoundRobin(members)
    total = sum(each)
    taken = Counter(next(turns.order()).server.name for _ in range(total))
    assert taken == {member.server.name: member.server.weight for member in members}


def test_turns_are_spread_evenly() -> None:
    turns = RoundRobin(places(a=3, b=1))
    names = "".join(next(turns.order()).server.name for _ in range(8))
    assert names in ("aabaaaba", "abaaabaa", "aaabaaab", "baaabaaa")


@given(weights)
def test_each_server_is_tried_once(each: list[int]) -> None:
    members = [Place(f"s{number}", weight) for number, weight in enumerate(each)]
    for turns in (RoundRobin(members), LeastOutstanding(members)):
        for _ in range(3):
            order = [member.server.name for member in turns.order()]
            assert sorted(order) == sorted(member.server.name for member in members)


def test_the_least_busy_for_its_weight_comes_first() -> None:
    a, b, c = places(a=1, b=4, c=1)
    a.outstanding, b.outstanding, c.outstanding = 3, 8, 4
    assert [m.server.name for m in LeastOutstanding([a, b, c]).order()] == ["b", "a", "c"]


def test_equally_busy_servers_take_turns() -> None:
    turns = LeastOutstanding(places(a=1, b=1, c=1))
    assert {next(turns.order()).server.name for _ in range(3)} == {"a", "b", "c"}


@pytest.mark.parametrize("strategy", ["round-robin", "least-outstanding"])
def test_a_weight_of_0_gets_nothing(strategy: str) -> None:
    assert {m.server.name for m in make_turns(strategy, places(a=1, b=0)).order()} == {"a"}
    assert not list(make_turns(strategy, places(b=0)).order())


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="round-robin or least-outstanding"):
        check_strategy("random")


KEYS = [b"user-%d" % number for number in range(4000)]


def homes(members: list[Place]) -> list[str]:
    rendezvous = Rendezvous(members)
    return [next(rendezvous.order(key)).server.name for key in KEYS]


def test_one_server_more_takes_its_share_and_nothing_else_moves() -> None:
    before, after = homes(places(a=1, b=1, c=1, d=1)), homes(places(a=1, b=1, c=1, d=1, e=1))
    moved = [now for then, now in zip(before, after, strict=True) if then != now]
    assert set(moved) == {"e"}
    assert abs(len(moved) / len(KEYS) - 0.20) < 0.02


def test_keys_are_shared_by_weight() -> None:
    found = Counter(homes(places(a=1, b=3)))
    assert abs(found["b"] / len(KEYS) - 0.75) < 0.03


def test_what_the_lost_server_had_goes_where_the_order_says() -> None:
    members = places(a=1, b=1, c=1)
    rendezvous = Rendezvous(members)
    without_a = Rendezvous(members[1:])
    for key in KEYS[:200]:
        order = [m.server.name for m in rendezvous.order(key) if m.server.name != "a"]
        assert order == [m.server.name for m in without_a.order(key)]


def test_every_program_agrees_on_the_homes_of_keys() -> None:
    """These never change: jobs with a key would go to another server than before."""
    rendezvous = Rendezvous(places(a=1, b=2, c=1))
    found = "".join(next(rendezvous.order(b"%d" % n)).server.name for n in range(24))
    assert found == "accbacbabbbbbbbbbcacccac"


def test_the_order_does_not_depend_on_the_order_of_the_list() -> None:
    assert homes(places(a=1, b=1, c=2)) == homes(places(c=2, b=1, a=1))


def test_a_server_without_weight_is_the_last_resort() -> None:
    rendezvous = Rendezvous(places(a=0, b=1))
    assert [m.server.name for m in rendezvous.order(b"k")] == ["b", "a"]


def test_a_key_is_text_or_bytes() -> None:
    assert check_key("ü") == check_key("ü".encode())
    for wrong in (7, None, ["a"]):
        with pytest.raises(InvalidArgument, match="a key must be"):
            check_key(wrong)  # type: ignore[arg-type]


def test_programs_that_put_one_job_each_do_not_all_choose_the_first_server() -> None:
    for strategy in ("round-robin", "least-outstanding"):
        members = places(a=1, b=1, c=1)
        chosen = {next(make_turns(strategy, members).order()).server.name for _ in range(200)}
        assert chosen == {"a", "b", "c"}
