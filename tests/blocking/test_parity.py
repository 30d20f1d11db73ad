"""The blocking client and pool have what the asynchronous ones have, verb by verb."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import beanstalkt
from beanstalkt import blocking
from beanstalkt.client.options import BlockingOptions, Options

PAIRS = [
    pytest.param(beanstalkt.Client, blocking.Client, id="Client"),
    pytest.param(beanstalkt.Pool, blocking.Pool, id="Pool"),
    pytest.param(beanstalkt.Job, blocking.Job, id="Job"),
    pytest.param(beanstalkt.PoolJob, blocking.PoolJob, id="PoolJob"),
    # What a program does with one server it can do with several.
    pytest.param(beanstalkt.Client, beanstalkt.Pool, id="several"),
    pytest.param(blocking.Client, blocking.Pool, id="several-blocking"),
]

ONLY_WITH_A_LOOP = {
    "together",  # commands that leave in one write: each call waits for its own reply
    "late",  # jobs that came for nobody: the server itself takes them back here
}

OF_ONE_SERVER = {
    *("from_url", "connection", "tubes", "job_type"),
    "reason",  # of a pool, each server has its own
    "put_chunk",  # what the pool puts on its clients
}

LOOP_ARGUMENTS = {"self", "callback", "io_loop"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def arguments(function: Any) -> dict[str, tuple[Any, Any]]:
    """Return the kind and the default of each argument that has nothing to do with a loop."""
    return {
        name: (each.kind, each.default)
        for name, each in inspect.signature(function).parameters.items()
        if name not in LOOP_ARGUMENTS
    }


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_each_verb_is_there(kind: type, other: type) -> None:
    missing = public(kind) - public(other)
    assert missing <= (OF_ONE_SERVER if other.__name__ != kind.__name__ else ONLY_WITH_A_LOOP)


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_each_verb_takes_the_same_arguments(kind: type, other: type) -> None:
    for name in public(kind) & public(other) - public(dict):
        one, two = getattr(kind, name), getattr(other, name)
        assert isinstance(one, property) == isinstance(two, property), name
        if not callable(one):
            continue
        wanted, found = arguments(one), arguments(two)
        # In the same order; whatever a pool has besides is given by name.
        assert {name: found.get(name) for name in wanted} == wanted, name
        assert list(found)[: len(wanted)] == list(wanted), name
        more = [each for each in found if each not in wanted]
        assert all(found[each][0] is inspect.Parameter.KEYWORD_ONLY for each in more), name


def test_each_option_of_a_pool_is_there() -> None:
    assert arguments(blocking.Pool.__init__) == arguments(beanstalkt.Pool.__init__)


def test_the_options_of_from_url_are_those_of_the_constructor() -> None:
    # The address comes from the URL.
    address = {"host", "port", "unix_path"}
    for client, options in ((beanstalkt.Client, Options), (blocking.Client, BlockingOptions)):
        assert (
            options.__annotations__.keys() == inspect.signature(client).parameters.keys() - address
        )


def test_what_a_pool_hands_on_to_its_clients_has_the_defaults_of_those() -> None:
    pools, clients = arguments(beanstalkt.Pool.__init__), arguments(beanstalkt.Client.__init__)
    for name in ("reconnect_delay", "max_reconnect_delay", "response_timeout", "timing"):
        assert pools[name] == clients[name]


def test_each_option_of_a_client_is_there() -> None:
    wanted = arguments(beanstalkt.Client.__init__)
    assert arguments(blocking.Client.__init__) == wanted
