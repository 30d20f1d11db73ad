from __future__ import annotations

import re
from typing import Any

import pytest

from beanstalkt.console import Settings
from beanstalkt.errors import InvalidArgument

SERVERS = {"main": "beanstalk://localhost:11300"}


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "", "queue.example", "127.0.0.1.nip"]
)
def test_an_address_that_others_can_reach_needs_a_secret(host: str) -> None:
    with pytest.raises(InvalidArgument, match="other machines can reach"):
        Settings(SERVERS, host=host)
    assert Settings(SERVERS, host=host, password="x").needs_login
    assert Settings(SERVERS, host=host, token="x" * 16).needs_login


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_does_not(host: str) -> None:
    assert not Settings(SERVERS, host=host).needs_login


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"servers": {}}, "at least one server"),
        ({"servers": {"a/b": "beanstalk://x"}}, "'a/b'"),
        ({"servers": {"<b>": "beanstalk://x"}}, "'<b>'"),
        ({"servers": {"a": "http://x"}}, "bad URL"),
        ({"password": ""}, "must not be empty"),
        ({"token": "short"}, "16 characters"),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        Settings(**{"servers": SERVERS, **values})


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Settings(SERVERS, password="secret", token="secret" * 3))


def test_names_of_the_console() -> None:
    settings = Settings(SERVERS, host="0.0.0.0", password="x", allowed_hosts=("Q.example",))
    assert settings.host_names() == {"localhost", "127.0.0.1", "::1", "q.example"}
