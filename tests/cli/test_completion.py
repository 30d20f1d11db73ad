"""The completion scripts, as the shells themselves run them."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from beanstalkt import cmd
from beanstalkt.cli.completion import SCRIPTS
from beanstalkt.cli.description import describe

TIMEOUT = 60
"""Seconds after which a shell is considered to hang."""


def script(shell: str, folder: Path) -> Path:
    """Write the script of a shell to a file; skip the test where there is no such shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = folder / f"completion.{shell}"
    file.write_text(SCRIPTS[shell]())
    return file


def run(folder: Path, *command: str) -> list[str]:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert not done.stderr
    return done.stdout.split("\n")


def by_bash(words: list[str], folder: Path) -> set[str]:
    # As bash divides what was typed; the last word may be empty.
    parts = [part for word in words for part in re.findall("[:=]+|[^:=]+", word) or [""]]
    quoted = " ".join(f"'{part}'" for part in parts)
    line = " ".join(words)
    program = (
        f"source {script('bash', folder)}; COMP_WORDS=({quoted}); "
        f"COMP_CWORD={len(parts) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}; _beanstalkt; "
        '((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"; true'
    )
    return {line for line in run(folder, "bash", "--norc", "-c", program) if line}


def by_fish(words: list[str], folder: Path) -> set[str]:
    line = " ".join(words)
    program = f"source {script('fish', folder)}; complete -C '{line}'"
    lines = run(folder, "fish", "--no-config", "-c", program)
    return {line.split("\t")[0] for line in lines if line}


def by_zsh(words: list[str], folder: Path) -> set[str]:
    """What zsh lists when Tab is pressed, in a terminal, by a program that records it."""
    file = script("zsh", folder)
    setup = folder / "setup.zsh"
    # Each list ends up in compadd: it is recorded in the place of what would be shown.
    setup.write_text(
        "autoload -U compinit; compinit -u -D\n"
        f"source {file}\n"
        "compadd() {\n"
        '  local -a found given; given=("$@")\n'
        '  [[ ${given[(r)-[OAD]]} ]] || { builtin compadd -O found "$@"; '
        f"print -l -- $found >> {folder}/found; }}\n"
        '  builtin compadd "$@"\n'
        "}\n"
        f"finish() {{ zle complete-word; print done > {folder}/done; }}\n"
        "zle -N finish; zle -C complete-word complete-word _main_complete; bindkey '^X' finish\n"
        f"print ready > {folder}/ready\n"
    )
    (folder / "found").write_text("")
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        os.environ["TERM"] = "dumb"
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        os.write(terminal, f"source {setup}\n".encode())
        await_file(folder / "ready", terminal)
        os.write(terminal, " ".join(words).encode() + b"\x18")
        await_file(folder / "done", terminal)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    return {line.strip() for line in (folder / "found").read_text().split("\n") if line.strip()}


def await_file(file: Path, terminal: int) -> None:
    """Read what the shell writes until it has made a file."""
    deadline = time.monotonic() + TIMEOUT
    shown = b""
    while not file.exists():
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        if select.select([terminal], [], [], 0.05)[0]:
            shown += os.read(terminal, 2**16)


SHELLS = {"bash": by_bash, "zsh": by_zsh, "fish": by_fish}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["beanstalkt", ""], {"put", "reserve", "work", "list-tubes", "completion"}, {"--server"}),
        (["beanstalkt", "rese"], {"reserve", "reserve-job"}, {"put"}),
        (["beanstalkt", "--se"], {"--server"}, {"put"}),
        (["beanstalkt", "put", "--"], {"--lines", "--priority", "--server"}, {"--watch"}),
        (["beanstalkt", "-H", "put", "reserve", "--"], {"--watch", "--server"}, {"--lines"}),
        (["beanstalkt", "--server", "beanstalk://a:1", "put", "--"], {"--lines"}, {"--watch"}),
        (["beanstalkt", "--server=beanstalk://a", "rese"], {"reserve", "reserve-job"}, {"put"}),
        (["beanstalkt", "--server", "beanstalk://"], set(), {"put", "--lines", "a file"}),
        (["beanstalkt", "--server", "beanstalk:"], set(), {"put", "--lines", "a file"}),
        (["beanstalkt", "reserve", ""], {"delete", "release", "bury"}, {"put", "a file"}),
        (["beanstalkt", "put", "--lines", ""], {"a file"}, {"put", "--lines"}),
        (["beanstalkt", "put", "--priority", ""], set(), {"put", "--lines", "a file"}),
        (["beanstalkt", "import", ""], {"a file"}, {"put", "--resume"}),
        (["beanstalkt", "import", "--"], {"--resume"}, {"a file"}),
        (["beanstalkt", "import", "--connect-timeout", ""], set(), {"a file"}),
        (["beanstalkt", "completion", ""], {"bash", "zsh", "fish"}, {"put"}),
        (["beanstalkt", "list", "--state", ""], {"ready", "buried"}, {"list", "a file", "name"}),
        (["beanstalkt", "kick", "--state", "b"], {"buried"}, {"ready", "delayed", "a file"}),
        (["beanstalkt", "stats-tube", "--sort", "a"], {"age"}, {"ready", "a file"}),
        (["beanstalkt", "work", "--on-t"], {"--on-timeout", "--on-temporary-fail"}, {"put"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_shell_completes(
    shell: str, words: list[str], some: set[str], none: set[str], tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "a file").touch()
    found = {each.replace("\\ ", " ").strip("'") for each in SHELLS[shell](words, folder)}
    assert some <= found
    assert not none & found


def test_bash_completes_a_value_behind_an_equals_sign(tmp_path: Path) -> None:
    assert by_bash(["beanstalkt", "list", "--state=bur"], tmp_path) == {"buried"}
    assert by_bash(["beanstalkt", "list", "--state="], tmp_path) >= {"ready", "buried"}
    assert by_bash(["beanstalkt", "put", "--priority=1"], tmp_path) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_verb_and_option(shell: str) -> None:
    program, verbs = describe()
    text = SCRIPTS[shell]()
    for described in (program, *verbs):
        for flag in (flag for option in described.options for flag in option.flags):
            assert flag in text or f"-l {flag[2:]} " in text or f"-s {flag[1:]} " in text
        assert all(name in text for name in described.names)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_verb_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cmd.main(["completion", shell]) == 0
    assert capsys.readouterr().out == SCRIPTS[shell]()
