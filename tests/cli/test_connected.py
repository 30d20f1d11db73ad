"""Which server a verb talks to, and what its errors become."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import pytest

from beanstalkt import errors
from beanstalkt.cli import connected as module
from beanstalkt.cli.connected import client_of, connected


def address(monkeypatch: pytest.MonkeyPatch, environment: str | None, **given: object) -> object:
    """The URL that a client is made of."""
    if environment is None:
        monkeypatch.delenv("BEANSTALKD_URL", raising=False)
    else:
        monkeypatch.setenv("BEANSTALKD_URL", environment)
    made = []
    monkeypatch.setattr(
        "beanstalkt.client.client.Client.from_url",
        lambda url, connect_timeout, response_timeout, timing: made.append(
            (url, connect_timeout, response_timeout)
        ),
    )
    options = {"server": None, "connect_timeout": 3.0, "response_timeout": 5.0, **given}
    client_of(argparse.Namespace(**options))
    return made.pop()


def test_the_server_is_the_one_given_or_named_by_the_environment_or_local(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def url(environment: str | None = "beanstalk://env:1", **given: object) -> object:
        return address(monkeypatch, environment, **given)

    given: dict[str, Any] = {
        "server": "unix:///a%20b",
        "connect_timeout": 0.0,
        "response_timeout": 0.5,
    }
    assert url(**given) == ("unix:///a%20b", 0.0, 0.5)
    assert url() == ("beanstalk://env:1", 3.0, 5.0)
    assert url("") == ("beanstalk://localhost:11300", 3.0, 5.0)
    assert url(None) == ("beanstalk://localhost:11300", 3.0, 5.0)


def test_a_bad_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.InvalidArgument, match="BEANSTALKD_URL: bad URL 'localhost:1'"):
        address(monkeypatch, "localhost:1")


class Connected:
    """A client that is connected to nothing."""

    async def __aenter__(self) -> Connected:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        (None, 0, []),
        (1, 1, []),
        (errors.NotFound("not there"), 1, ["not there"]),
        (errors.UnexpectedResponse("what?"), 69, ["what? (beanstalk://h:1)"]),
        (errors.ConnectionLost("lost"), 69, ["lost (beanstalk://h:1)"]),
        (errors.ConnectionLost("lost beanstalk://h:1"), 69, ["lost beanstalk://h:1"]),
        (errors.ConnectionLost("lost", sent=True), 69, ["lost", "the server may have"]),
    ],
)
def test_how_a_command_ends_is_told_and_becomes_the_exit_status(
    ending: Any,
    status: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = argparse.Namespace(server="beanstalk://h:1")

    async def command(client: object, options: argparse.Namespace) -> int | None:
        logging.getLogger("beanstalkt").warning("what the error tells as well")
        if isinstance(ending, Exception):
            raise ending
        return None if ending is None else int(ending)

    monkeypatch.setattr(module, "client_of", lambda options: Connected())
    assert connected(command)(options) == status
    written = capsys.readouterr()
    assert written.out == ""
    assert not caplog.text
    lines = written.err.splitlines()
    assert len(lines) == len(said)
    for line, text in zip(lines, said, strict=True):
        assert line.startswith(f"beanstalkt: {text}")
    assert connected(command, outlives_connection=True)(options) == status
    assert "what the error tells as well" in caplog.text
