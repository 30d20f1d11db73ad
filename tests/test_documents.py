"""What the pages of the site show is true.

Each ``python`` block is a program, and runs in this process against a server of its own; blocks
with tests run under pytest. A ``console`` block shows commands after ``$``, and then what they
print. An ``ini`` block is a configuration of the runner. ``text``, ``toml`` and ``dockerfile`` are
not run; ``nginx`` is run by ``tests/browser/test_behind_nginx.py``. ``make types`` checks the
blocks with annotations.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from beanstalkt import errors
from beanstalkt.errors import BeanstalkException
from beanstalkt.worker.handlers.base import CannotStart, Handler
from beanstalkt.worker.policy.outcome import Kind

from .support.beanstalkd import Beanstalkd
from .support.documents import DOC, GENERATED, PAGES, Block, blocks
from .support.snippets import at, check_configuration, run, run_console
from .support.work import make_work

TUTORIAL = DOC / "tutorial.md"
BLOCKS = [block for block in blocks(*PAGES) if block.page != TUTORIAL]
PYTHON = [block for block in BLOCKS if block.language == "python" and not block.is_test]
TESTS = [block for block in BLOCKS if block.is_test]
CONSOLE = [block for block in BLOCKS if block.language == "console"]
INI = [block for block in BLOCKS if block.language == "ini"]


def test_there_are_no_other_kinds_of_blocks() -> None:
    assert {block.language for block in BLOCKS} <= {
        *("python", "console", "ini", "text", "toml", "dockerfile", "nginx")
    }


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python(block: Block, beanstalkd: Beanstalkd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEANSTALKD_URL", beanstalkd.url)
    module: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    code = compile(at(beanstalkd, block.text), str(block), "exec", dont_inherit=True)
    exec(code, module)


def test_tests(beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    for block in TESTS:
        name = re.sub(r"\W+", "_", str(block))
        (tmp_path / f"test_{name}.py").write_text(block.text)
    output = run(
        beanstalkd, tmp_path, sys.executable, *["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    )
    assert re.search(rf"^{sum(b.text.count('def test_') for b in TESTS)} passed", output, re.M)


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_console(block: Block, beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    run_console(beanstalkd, tmp_path, block.text)


@pytest.mark.parametrize("block", INI, ids=str)
def test_ini(block: Block, beanstalkd: Beanstalkd, tmp_path: Path) -> None:
    check_configuration(beanstalkd, tmp_path, block.text)


def test_a_link_to_a_file_of_the_repository_leads_somewhere() -> None:
    for page in [*PAGES, DOC.parent / "CONTRIBUTING.md", DOC.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            found = page.parent / target
            assert found.exists() or found.name in GENERATED, f"{page}: {target}"


def test_every_system_check_of_the_django_app_is_explained() -> None:
    page = (DOC / "reference" / "django.md").read_text()
    explained = re.findall(r"`beanstalkt\.([EI]\d{3})`", page)
    sources = [file.read_text() for file in (DOC.parent / "beanstalkt" / "django").glob("*.py")]
    assert set(explained) == {
        number for text in sources for number in re.findall(r"\b([EI]0\d{2})\b", text)
    }


def headings_of_messages() -> list[str]:
    page = (DOC / "troubleshooting.md").read_text().partition("## By the message")[2]
    return re.findall(r"^### (.*)$", page, re.MULTILINE)


def test_each_message_of_troubleshooting_is_one_of_the_program() -> None:
    package = DOC.parent / "beanstalkt"
    files = [*package.rglob("*.py"), *package.glob("console/static/**/*.js")]
    # A message that is written in several pieces is one again.
    program = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text() for file in files))
    headings = headings_of_messages()
    quoted = [text for heading in headings for text in re.findall(r"`([^`]+)`", heading)]
    parts = [part.strip(" :;'") for text in quoted for part in re.split(r"…|\[|\]", text)]
    assert len(headings) > 60
    of_python = "TypeError: a coroutine was expected"
    assert not [part for part in parts if part not in program and part != of_python]


def test_troubleshooting_has_every_error_outcome_and_word_of_the_log() -> None:
    page = (DOC / "troubleshooting.md").read_text()
    named = set(re.findall(r"`([\w-]+)`", page))
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    concrete = {each.__name__ for each in classes if issubclass(each, BeanstalkException)}
    assert concrete - {"BeanstalkException", "CommandFailed"} <= named
    assert {kind.value for kind in Kind} <= named
    log = (DOC.parent / "beanstalkt/worker/log/observer.py").read_text()
    assert set(re.findall(r'log_entry\(\s*"([\w-]+)"', log)) <= named


def program_with(text: str) -> str:
    """The one program of the pages that contains a text."""
    (program,) = {block.text for block in PYTHON if text in block.text}
    return program


def test_the_callback_program_prints_what_it_always_did(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    file = tmp_path / "program.py"
    file.write_text(at(beanstalkd, program_with("IOLoop.instance()")))
    assert run(beanstalkd, tmp_path, sys.executable, file.name) == (
        "Queued a job with id 1\n"
        "Reserved job {'body': b'A job to work on', 'id': 1}\n"
        "Deleted job with id 1\n"
    )


def test_the_three_ways_to_use_a_future_put_a_job_each_time(
    beanstalkd: Beanstalkd, tmp_path: Path
) -> None:
    file = tmp_path / "program.py"
    file.write_text(at(beanstalkd, program_with("run_coroutine_threadsafe")))
    assert run(beanstalkd, tmp_path, sys.executable, "-W", "error", file.name) == (
        "Queued jobs with ids [1, 2, 3, 4]\n"
    )


def test_the_example_of_a_handler_does_its_jobs(tmp_path: Path) -> None:
    module: dict[str, Any] = {"__name__": "handler"}
    exec(compile(program_with("class AppendHandler"), "handler.py", "exec"), module)
    handler_type: type[Handler] = module["AppendHandler"]
    assert handler_type.options[0].flag == "--append"
    with pytest.raises(CannotStart):
        handler_type.from_options({"append": tmp_path / "none" / "notes"}).check()
    handler = handler_type.from_options({"append": tmp_path / "notes"})
    handler.check()
    outcomes = [
        asyncio.run(handler.run(make_work(body))).kind for body in (b"one", b"a\nb", b"two")
    ]
    assert outcomes == [Kind.SUCCESS, Kind.PERMANENT_FAIL, Kind.SUCCESS]
    assert (tmp_path / "notes").read_bytes() == b"one\ntwo\n"
