"""Which servers are looked at by the verbs that serve something about servers."""

from __future__ import annotations

import pytest

from beanstalkt import InvalidArgument
from beanstalkt.cli.serving import servers_of


@pytest.mark.parametrize(
    ("said", "servers"),
    [
        ("", {"server": "beanstalk://localhost:11300"}),
        ("beanstalk://ten:1", {"server": "beanstalk://ten:1"}),
        (
            "a=beanstalk://ten:1 b=beanstalk://ten:2?weight=3",
            {"a": "beanstalk://ten:1", "b": "beanstalk://ten:2"},
        ),
        (
            "beanstalk://ten:1,beanstalk://ten:2",
            {"server-1": "beanstalk://ten:1", "server-2": "beanstalk://ten:2"},
        ),
    ],
)
def test_without_servers_those_of_the_environment_are_meant(
    said: str, servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", said)
    assert servers_of([]) == servers


def test_servers_that_are_given_are_meant_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", "a=beanstalk://ten:1 b=beanstalk://ten:2")
    assert servers_of(["c=beanstalk://ten:3?weight=0"]) == {"c": "beanstalk://ten:3"}
    with pytest.raises(InvalidArgument, match="two servers are called 'c'"):
        servers_of(["c=beanstalk://ten:3", "c=beanstalk://ten:4"])
