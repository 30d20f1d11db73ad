"""Every snippet of the README does what it says.

Each snippet runs against a server of its own, on a free port instead of 11300. A ``python`` block
is a program, or a test file for pytest if it contains tests. A ``console`` block shows commands
after ``$``, and then what they print. An ``ini`` block is a configuration of the runner.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.beanstalkd import EXECUTABLE, Beanstalkd
from .support.snippets import at, check_configuration, run, run_console

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
CONSOLE = [text for language, text in BLOCKS if language == "console"]
INI = [text for language, text in BLOCKS if language == "ini"]


@pytest.fixture
def server() -> Iterator[Beanstalkd]:
    if EXECUTABLE is None:
        pytest.skip("beanstalkd is not installed")
    server = Beanstalkd()
    server.start()
    yield server
    server.stop()


def test_there_are_no_other_kinds_of_snippets() -> None:
    assert {language for language, _ in BLOCKS} <= {"python", "console", "ini"}
    assert len(PYTHON) >= 4


@pytest.mark.parametrize("text", PYTHON, ids=range(len(PYTHON)))
def test_python(text: str, server: Beanstalkd, tmp_path: Path) -> None:
    if "def test_" in text:
        file = tmp_path / "test_snippet.py"
        file.write_text(text)
        run(server, tmp_path, sys.executable, "-m", "pytest", "-q", file.name)
    else:
        file = tmp_path / "snippet.py"
        file.write_text(at(server, text))
        run(server, tmp_path, sys.executable, "-W", "error", file.name)


@pytest.mark.parametrize("text", CONSOLE, ids=range(len(CONSOLE)))
def test_console(text: str, server: Beanstalkd, tmp_path: Path) -> None:
    run_console(server, tmp_path, text)


@pytest.mark.parametrize("text", INI, ids=range(len(INI)))
def test_ini(text: str, server: Beanstalkd, tmp_path: Path) -> None:
    check_configuration(server, tmp_path, text)
