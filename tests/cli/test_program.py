"""What ends the program, and with which status."""

from __future__ import annotations

import argparse
import builtins
from collections.abc import Callable
from typing import Any

import pytest

from beanstalkt import cmd
from beanstalkt.cli import program


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        (lambda: 0, 0, ""),
        (lambda: 7, 7, ""),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space left on device", "a file"), 1, "a file: No space left on device"),
        (OSError("no reason"), 1, "no reason"),
    ],
)
def test_the_way_a_verb_ends_decides_the_status(
    ending: BaseException | Callable[[], int],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(options: argparse.Namespace) -> int:
        if isinstance(ending, BaseException):
            raise ending
        return ending()

    monkeypatch.setattr(program, "parse", lambda argv: argparse.Namespace(run=run))
    assert cmd.main([]) == status
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == (f"beanstalkt: {said}\n" if said else "")


def test_an_interrupt_while_the_program_is_imported_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str, *arguments: Any) -> Any:
        if "program" in (arguments[2] or ()):
            raise KeyboardInterrupt
        return imported(name, *arguments)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert cmd.main(["--help"]) == 130
    assert capsys.readouterr() == ("", "")


def test_wrong_usage_exits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cmd.main(["eat"])
    assert caught.value.code == 2
    assert "invalid choice: 'eat'" in capsys.readouterr().err
