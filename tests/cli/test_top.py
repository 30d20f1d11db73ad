"""top: its options, and what it needs. What it shows is tested in a real terminal."""

from __future__ import annotations

import pytest

from beanstalkt.cli import top
from beanstalkt.cli.parser import parse


@pytest.fixture
def in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("in_terminal")
def test_it_takes_the_options_of_a_table() -> None:
    options = parse(["top", "--sort", "in", "--reverse", "--filter", "m*", "--interval", "2"])
    assert (options.sort, options.reverse) == ("in", True)
    assert (options.filter, options.interval) == (["m*"], 2)
    assert (parse(["top"]).sort, parse(["top"]).interval) == ("ready", 1)


@pytest.mark.usefixtures("in_terminal")
def test_it_says_which_extra_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(top, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        parse(["top"])
    assert "pip install 'beanstalkt[top]'" in capsys.readouterr().err


@pytest.mark.usefixtures("in_terminal")
def test_a_terminal_that_can_do_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(SystemExit, match="2"):
        parse(["top"])
    assert "stats-tube --watch" in capsys.readouterr().err
