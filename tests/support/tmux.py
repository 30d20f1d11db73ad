"""A real terminal for a test: tmux, with a shell in it, on a socket of the test's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .waiting import block_until

EXECUTABLE = shutil.which("tmux")

BEANSTALKT = f"{sys.executable} -m beanstalkt"


class Tmux:
    """One terminal, with a shell whose folder is `folder`. To be used with ``with``."""

    def __init__(self, folder: Path, columns: int = 80, lines: int = 24) -> None:
        if EXECUTABLE is None:
            pytest.skip("tmux is not installed")
        self.folder = folder
        self._size = ("-x", str(columns), "-y", str(lines))

    def __enter__(self) -> Tmux:
        # Some shells export the size, and so does readline: it must not be relied on.
        shell = "env -u NO_COLOR COLUMNS=80 LINES=24 PS1='$ ' PYTHONWARNINGS=error sh"
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", *self._size, "-c", str(self.folder), shell
        )
        self.until("$")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the terminal, as one whose window is closed; does nothing when it has ended."""
        subprocess.run([*self._command(), "kill-server"], capture_output=True, timeout=30)

    def keys(self, *keys: str) -> None:
        """Press keys, by their names in tmux or as text."""
        self._tmux("send-keys", *keys)

    def run(self, line: str) -> None:
        """Have the shell run a command line."""
        self._tmux("send-keys", "-l", line)
        self.keys("Enter")

    def screen(self, *, escapes: bool = False) -> str:
        """What the terminal shows; with what changes its colours if `escapes` say so."""
        return self._tmux("capture-pane", "-p", *(["-e"] if escapes else []))

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def state(self) -> str:
        """Whether the cursor is shown, the screen is the other one, and the mouse is taken."""
        return self._tmux(
            "display-message", "-p", "#{cursor_flag} #{alternate_on} #{mouse_any_flag}"
        ).strip()

    def until(self, *texts: str, without: str | None = None) -> str:
        """Wait until the terminal shows these texts, and return what it shows."""

        def test(shown: str) -> bool:
            return all(text in shown for text in texts) and not (without and without in shown)

        return self.until_screen(test, f"{texts} without {without}" if without else str(texts))

    def until_screen(self, test: Callable[[str], object], what: str = "") -> str:
        """Wait until what the terminal shows is as `test` says, and return it."""
        shown = ""

        def fits() -> object:
            nonlocal shown
            shown = self.screen()
            return test(shown)

        try:
            block_until(fits)
        except AssertionError:
            raise AssertionError(f"not shown in time: {what or test}, but:\n{shown}") from None
        return shown

    def _command(self) -> list[str]:
        assert EXECUTABLE is not None
        return [EXECUTABLE, "-u", "-S", str(self.folder / "tmux")]

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command(), *words], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
