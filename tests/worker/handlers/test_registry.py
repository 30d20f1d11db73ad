"""The handlers that are found: our own, and those that other distributions announce."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beanstalkt.cli.work import add_arguments
from beanstalkt.worker.config.loading import ConfigError, Flags, load
from beanstalkt.worker.config.options import COMMON, RESERVED, RUN
from beanstalkt.worker.handlers.command.handler import CommandHandler
from beanstalkt.worker.handlers.function.handler import FunctionHandler
from beanstalkt.worker.handlers.http.handler import HTTPHandler
from beanstalkt.worker.handlers.registry import HandlerError, load_handlers

HANDLER = """
from beanstalkt.worker.handlers.base import Handler, Option
from beanstalkt.worker.policy.outcome import SUCCESS

class Foreign(Handler):
    options = (Option({option!r}, str, "help for it", selects=True),)
    sections = {sections!r}

    @classmethod
    def from_options(cls, values):
        return cls()

    def describe(self):
        return "foreign"

    async def run(self, work):
        return SUCCESS
"""

LACKING = """
from beanstalkt.worker.handlers.base import Handler
class Foreign(Handler):
    defaults = {}
"""

REST = "    from_options = describe = run = None\n"

RESERVED_NAMES = ("tube", "all_tubes", "config", "help", "server", "connect_timeout", "job_id")

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution whose one module has a handler."""

    def install(
        name: str = "acme",
        entry: str = "",
        code: str = "",
        option: str = "foreign",
        sections: tuple[str, ...] = (),
        handler: str = "foreign",
    ) -> None:
        module = f"{name}_module"
        text = code or HANDLER.format(option=option, sections=sections)
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        point = entry or f"{module}:Foreign"
        (info / "entry_points.txt").write_text(f"[beanstalkt.handlers]\n{handler} = {point}\n")

    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    load_handlers.cache_clear()
    yield install
    load_handlers.cache_clear()
    for module in set(sys.modules) - before:
        del sys.modules[module]


def test_our_own_come_first() -> None:
    assert load_handlers(RESERVED)[:3] == (CommandHandler, HTTPHandler, FunctionHandler)


def test_our_own_are_found_without_metadata() -> None:
    """As in a checkout that is not installed."""
    program = (
        "import importlib.metadata as metadata; metadata.entry_points = lambda **_: ()\n"
        "from beanstalkt.worker.handlers.registry import load_handlers\n"
        "print(len(load_handlers()))"
    )
    assert run(program) == "3\n"


def test_a_handler_of_another_distribution(install: Install) -> None:
    install(sections=("acme",))
    tube = load(Flags(tubes=["mail"], options={"foreign": "x"}), {}).tubes[0]
    assert tube.handler.__name__ == "Foreign"
    assert tube.values == {"foreign": "x"}
    assert tube.make_handler().describe() == "foreign"


def test_the_command_line_has_its_flags(install: Install, tmp_path: Path) -> None:
    install()
    shown = command_line(tmp_path, "work", "-h")
    assert "--foreign TEXT" in shown.stdout
    assert "help for it" in shown.stdout
    checked = command_line(tmp_path, "work", "--tube", "a", "--foreign", "x", "--check")
    assert checked.stdout.endswith("\ntube a: 1 worker, foreign\n")


def test_a_broken_one_ends_the_command_line_and_no_other_verb(
    install: Install, tmp_path: Path
) -> None:
    install(code="import no_such_module_at_all")
    ended = command_line(tmp_path, "work", "--tube", "a", "--exec", "cat", "--check")
    assert ended.returncode == 2
    assert "the distribution acme 1.2" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert command_line(tmp_path, "put", "-h").returncode == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "import no_such_module_at_all"}, "ModuleNotFoundError: No module named"),
        ({"code": "raise SystemExit"}, r"cannot be imported .acme_module:Foreign.: SystemExit;"),
        ({"code": "x = 1"}, "AttributeError"),
        ({"code": "Foreign = 7"}, "is not a subclass of beanstalkt"),
        ({"code": "class Foreign: pass"}, "is not a subclass"),
        ({"code": LACKING}, r"acme_module:Foreign lacks describe, from_options, run"),
        (
            {"code": f"{LACKING}    options = ('x',)\n{REST}"},
            "options that are not a tuple of Option",
        ),
        ({"code": f"{LACKING}    sections = 'x'\n{REST}"}, "sections that are not a tuple of str"),
        (
            {"handler": "http"},
            r"the distribution beanstalkt and .* both have a handler named http",
        ),
        ({"option": "pass_tube"}, r"the distribution beanstalkt has pass_tube already"),
        ({"option": "exec"}, "has --exec already"),
        ({"sections": ("dispatch",)}, r"has \[dispatch\] already"),
        ({"sections": ("connection",)}, r"has \[connection\] already"),
        *(({"option": option.name}, "already") for option in (*COMMON, *RUN)),
        *(({"option": name}, "already") for name in RESERVED_NAMES),
    ],
)
def test_one_that_cannot_be_used_is_named(
    install: Install, changes: dict[str, object], message: str
) -> None:
    install(**changes)
    with pytest.raises(HandlerError, match=message) as caught:
        load_handlers(RESERVED)
    assert "the distribution acme 1.2" in str(caught.value)
    with pytest.raises(ConfigError, match=r"the distribution acme 1\.2"):
        load(Flags(tubes=["mail"], options={"command": "cat"}), {})


def test_two_of_one_name_are_both_named(install: Install) -> None:
    install("acme")
    install("other", option="another")
    with pytest.raises(HandlerError) as caught:
        load_handlers()
    assert str(caught.value) == (
        "the distribution acme 1.2 and the distribution other 1.2 "
        "both have a handler named foreign"
    )


def test_two_with_one_option_are_both_named(install: Install) -> None:
    install("acme")
    install("other", handler="second")
    with pytest.raises(HandlerError) as caught:
        load_handlers()
    assert "the distribution acme 1.2 has foreign already" in str(caught.value)
    assert "the handler second of the distribution other 1.2" in str(caught.value)


def test_every_flag_of_the_command_line_is_reserved() -> None:
    """No handler can take a flag that means something else there."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = set(re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", parser.format_help()))
    own = {option.flag for handler in load_handlers() for option in handler.options}
    assert {"--tube", "--config", "--on-exit", "--exec"} <= flags
    assert flags - own <= RESERVED


@pytest.mark.parametrize(
    "program",
    [
        "from beanstalkt.worker import Worker",
        """
        from beanstalkt import Worker
        async def handler(job): pass
        Worker("beanstalk://localhost", "mail", handler, timeout=3, on_timeout="bury")
        """,
    ],
)
def test_a_worker_with_a_coroutine_imports_no_other_handler(program: str) -> None:
    loaded = run(textwrap.dedent(program) + "\nimport sys; print(*sys.modules)").split()
    assert "beanstalkt.worker.handlers.coroutine" in loaded
    for folder in ("command", "http", "function", "registry"):
        name = f"beanstalkt.worker.handlers.{folder}"
        assert not [each for each in loaded if each == name or each.startswith(name + ".")]
    assert not {"aiohttp", "beanstalkt.dispatch", "beanstalkt.cli", "argparse"} & set(loaded)
    assert not {"beanstalkt.worker.config.loading", "importlib.metadata"} & set(loaded)


def test_a_command_runs_without_aiohttp() -> None:
    program = (
        "import sys\n"
        "from beanstalkt.worker.config.loading import Flags, load\n"
        "load(Flags(tubes=['mail'], options={'command': 'cat'}), {}, check=True)\n"
        "print(*sys.modules)"
    )
    assert "aiohttp" not in run(program).split()


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def command_line(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with what is installed in a folder."""
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-m", "beanstalkt.cmd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/bin:/usr/bin", "PYTHONPATH": f"{folder}:{root}", "COLUMNS": "200"},
    )
