"""The manual page: complete, and without an error to the formatter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from beanstalkt import cmd
from beanstalkt.cli.description import describe
from beanstalkt.cli.manual import ENVIRONMENT, _paragraphs, manual


def test_it_has_every_verb_option_and_variable() -> None:
    program, verbs = describe()
    text = manual().replace("\\-", "-")
    for described in (program, *verbs):
        for option in described.options:
            assert all(f"\\fB{flag}\\fR" in text for flag in option.flags)
    assert all(f".SS {', '.join(verb.names)}\n" in text for verb in verbs)
    assert all(name in text for name in ENVIRONMENT)
    assert "%(default)s" not in text


@pytest.mark.parametrize("width", ["80", "200"])
def test_the_formatter_finds_nothing_wrong(width: str, tmp_path: Path) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    file = tmp_path / "beanstalkt.1"
    file.write_text(manual())
    done = subprocess.run(
        ["man", "--warnings", "-l", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"MANWIDTH": width, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "--max-attempts NUMBER" in done.stdout
    assert "\N{HYPHEN}" not in done.stdout  # no word is divided: it may be an option
    assert "69     no server, or the connection was lost" in done.stdout


def test_no_text_is_taken_for_a_request_to_the_formatter() -> None:
    text = ".SH x\n\n  'br\n\nan --option, a \\ and one,two"
    assert _paragraphs(text) == [
        *(".PP", r"\&.SH x"),
        *(".nf", r"  'br", ".fi"),
        *(".PP", r"an \-\-option, a \e and one,\:two"),
    ]


def test_a_verb_whose_package_is_missing_is_there_without_its_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "beanstalkt.cli.metrics", None)  # the import of it fails
    text = manual()
    assert "\n.SS metrics\n" in text
    assert "max\\-tubes" not in text
    assert "max\\-attempts" in text


def test_the_verb_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cmd.main(["man"]) == 0
    assert capsys.readouterr().out == manual()
