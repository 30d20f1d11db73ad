"""The options that name the server, before and after the verb.

Wrong usage of them is tested in test_parser.py.
"""

from __future__ import annotations

import pytest

from beanstalkt.cli.parser import parse

SERVER = {
    ("--server", "beanstalk://h:1"): "beanstalk://h:1",
    ("--server", "unix:///run/a%20b"): "unix:///run/a%20b",
    ("-H", "h", "-P", "1"): "beanstalk://h:1",
    ("--host", "::1"): "beanstalk://[::1]:11300",
    ("--port", "65535"): "beanstalk://localhost:65535",
    (): None,
}


@pytest.mark.parametrize("words", SERVER)
def test_the_server_may_be_named_before_or_after_the_verb(words: tuple[str, ...]) -> None:
    assert parse([*words, "stats"]).server == SERVER[words]
    assert parse(["stats", *words]).server == SERVER[words]


def test_the_time_to_connect_may_stand_before_or_after_the_verb() -> None:
    assert parse(["--connect-timeout", "0.5", "stats"]).connect_timeout == 0.5
    assert parse(["stats", "--connect-timeout", "0"]).connect_timeout == 0.0
    assert parse(["stats"]).connect_timeout == 3.0


def test_the_server_named_after_the_verb_wins() -> None:
    assert parse(["-P", "1", "stats", "-P", "2"]).server == "beanstalk://localhost:2"


def test_a_host_before_and_a_port_after_the_verb_go_together() -> None:
    assert parse(["-H", "h", "peek", "1", "-P", "2"]).server == "beanstalk://h:2"
