"""The verb console: what it makes of its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from beanstalkt.cli import console
from beanstalkt.cli.parser import parse
from beanstalkt.cli.program import main
from beanstalkt.console import Settings
from beanstalkt.errors import InvalidArgument


def settings(*arguments: str) -> Settings:
    return console._settings(parse(["console", *arguments]))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEANSTALKD_URL", "BEANSTALKT_CONSOLE_PASSWORD", "BEANSTALKT_CONSOLE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_servers_have_names() -> None:
    assert settings().servers == {"server": "beanstalk://localhost:11300"}
    one, two = "beanstalk://a:1", "unix:///x=y"
    assert settings("--server", one, "--server", two).servers == {"server-1": one, "server-2": two}
    assert settings("--server", f"a={one}", "--server", f"b={two}").servers == {"a": one, "b": two}
    with pytest.raises(InvalidArgument, match="'a'"):
        settings("--server", f"a={one}", "--server", f"a={two}")


def test_secrets_come_from_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("secret\nmore\n")
    assert settings("--password-file", str(file)).password == "secret"
    monkeypatch.setenv("BEANSTALKT_CONSOLE_PASSWORD", "other")
    monkeypatch.setenv("BEANSTALKT_CONSOLE_TOKEN", "t" * 16)
    assert settings().password == "other"
    assert settings().token == "t" * 16
    file.write_text("")
    with pytest.raises(InvalidArgument, match="must not be empty"):
        settings("--password-file", str(file))


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--listen", "0.0.0.0"), 2, "set a password or a token"),
        (("--server", "http://x"), 2, "bad URL"),
        (("--port", "99999"), 2, "from 0 to 65535"),
        (("--history", "nonsense"), 2, "beanstalkt: --history: "),
        (("--password-file", "/none"), 1, "/none"),
        (("--port", "0", "--certificate", "/none"), 2, "certificate"),
        (("--port", "0", "--action-log", "/none/x"), 1, "/none/x"),
    ],
)
def test_what_is_wrong_is_told_at_once(
    arguments: tuple[str, ...], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["console", *arguments]) == status
    assert told in capsys.readouterr().err
