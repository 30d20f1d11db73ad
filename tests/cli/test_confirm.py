"""The question before many jobs are changed."""

from __future__ import annotations

import asyncio
import io
import os
import pty
from argparse import Namespace
from collections.abc import Iterator

import pytest

from beanstalkt.cli import confirm
from beanstalkt.cli.parser import Parser


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Iterator[int]:
    """A terminal for standard input; the descriptor at which a user would type."""
    user, own = pty.openpty()
    kept = os.dup(0)
    os.dup2(own, 0)
    yield user
    os.dup2(kept, 0)
    for descriptor in (user, own, kept):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("typed", "yes"),
    [
        (b"y\n", True),
        (b" YES \n", True),
        (b"n\n", False),
        (b"\n", False),
        (b"yess\n", False),
        (b"\x04", False),  # Ctrl-D
    ],
)
async def test_only_a_yes_is_a_yes(terminal: int, typed: bytes, yes: bool) -> None:
    asked = asyncio.ensure_future(confirm.confirmed("Delete 3 jobs?"))
    os.write(terminal, typed)
    assert await asyncio.wait_for(asked, 10) is yes


async def test_the_question_can_be_cancelled(terminal: int) -> None:
    asked = asyncio.ensure_future(confirm.confirmed("Delete 3 jobs?"))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


def options(**given: bool) -> Namespace:
    return Namespace(**{"yes": False, "dry_run": False, "verb": "clear", **given})


def test_without_a_terminal_it_must_be_said_beforehand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = Parser(prog="beanstalkt clear")
    with pytest.raises(SystemExit) as ended:
        confirm.check(parser, options())
    assert ended.value.code == 2
    assert "--yes" in capsys.readouterr().err
    confirm.check(parser, options(yes=True))
    confirm.check(parser, options(dry_run=True))
    with pytest.raises(SystemExit):
        confirm.check(parser, options(yes=True, dry_run=True))


def test_on_a_terminal_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())
    confirm.check(Parser(prog="beanstalkt clear"), options())
