"""Imports run one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "beanstalkt"

LAYERS = [
    {"errors", "stats", "protocol", "job", "address"},
    {"callback", "stream", "place", "many", "timerfd"},
    {"vigil"},
    {"fifo", "patience"},
    {"connection"},
    {"supervisor"},
    {"client"},
]
"""What stands in a layer may import its own layer and those above it in this list."""

PURE = LAYERS[0]


def imports(path: Path) -> set[str]:
    """The modules that a file imports; those of this package as their first name behind a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                found.add((node.module or "").split(".")[0])
            elif node.module:
                found.add("." + node.module.split(".")[0])
            else:
                found |= {"." + alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_a_layer_imports_nothing_from_below(number: int) -> None:
    allowed = {"." + name for layer in LAYERS[: number + 1] for name in layer}
    for name in LAYERS[number]:
        own = {each for each in imports(PACKAGE / f"{name}.py") if each.startswith(".")}
        assert own <= allowed, name


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_pure_modules_know_no_loop(name: str) -> None:
    assert not imports(PACKAGE / f"{name}.py") & {"asyncio", "tornado", "socket", "threading"}


def test_only_the_stream_imports_sockets_and_streams() -> None:
    for name in {name for layer in LAYERS for name in layer} - {"stream"}:
        text = (PACKAGE / f"{name}.py").read_text()
        assert "iostream" not in text, name


def test_the_client_brings_in_nothing_but_tornado() -> None:
    """Neither an extra nor the command line, worker or server is imported with the client."""
    program = (
        "import sys, beanstalkt\n"
        "own = {name.split('.')[1] for name in sys.modules if name.startswith('beanstalkt.')}\n"
        "foreign = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(own), sorted(foreign))"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    own = sorted(name for layer in LAYERS for name in layer)
    assert run.stdout.split("] [")[0] == str(own)[:-1]
    foreign = run.stdout.split("] [")[1]
    assert "tornado" in foreign
    assert not {"pytest", "yaml", "hypothesis"} & set(foreign.replace("'", "").split(", "))


ABOVE = {
    "cmd.py": PURE | {"client", "arguments", "input", "stdio", "worker", "server"},
    "worker": PURE | {"client", "dispatch", "stdio"},
    "dispatch": PURE | {"client", "worker"},
    "server": PURE | {"stdio"},
}
"""What is built on the client sees only the client; the server does not see it at all."""


def imports_of_package(path: Path) -> set[str]:
    """The modules right below the package that a file of it imports."""
    depth = len(path.relative_to(PACKAGE).parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            if node.module:
                found.add(node.module.split(".")[0])
            else:
                found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", ABOVE)
def test_what_stands_on_the_client_sees_only_the_client(name: str) -> None:
    place = PACKAGE / name
    for file in [place] if place.is_file() else sorted(place.glob("*.py")):
        assert imports_of_package(file) <= ABOVE[name], file.name
