"""The helpers of the tests: ports that stay free, and one place for what tests share."""

from __future__ import annotations

import ast
import os
import socket
import sys
from pathlib import Path

import pytest

from .support import program
from .support.ports import HOST, RESERVED, free_port

TESTS = Path(__file__).parent

kept = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are not kept")


@kept
def test_a_free_port_is_given_to_nobody_who_asks_for_any() -> None:
    for _ in range(RESERVED):
        with socket.socket() as sock, pytest.raises(OSError, match="in use"):
            sock.bind((HOST, free_port()))


def test_a_free_port_is_had_by_the_server_that_names_it_again_and_again() -> None:
    port = free_port()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with (
            socket.create_server((HOST, port)) as server,
            socket.create_connection((HOST, port)) as client,
        ):
            server.accept()[0].close()
            assert client.recv(1) == b""


def test_a_port_on_which_a_server_still_listens_is_not_given_again() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, free_port()))
        server.listen()
        taken = server.getsockname()[1]
        assert taken not in [free_port() for _ in range(2 * RESERVED)]


def test_free_ports_take_no_descriptors_one_by_one() -> None:
    assert len({free_port() for _ in range(3 * RESERVED)}) == RESERVED


def imported(file: Path) -> set[str]:
    """Return the modules below ``tests`` that this file imports, as paths without a suffix."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module.split(".") if node.module else []
        if node.level:
            base = file.relative_to(TESTS).parent.parts
            found.add("/".join((*base[: len(base) - node.level + 1], *module)))
        elif module[0] == "tests":
            found.add("/".join(module[1:]))
    return found


def test_helpers_are_imported_from_support_alone() -> None:
    for file in TESTS.rglob("*.py"):
        name = str(file.relative_to(TESTS))
        others = {module for module in imported(file) if module.split("/")[0] != "support"}
        assert not others, f"{name} imports {others}"


# --- programs ---------------------------------------------------------------------------------

PROGRAMS = {
    "status": "import sys; sys.exit(7)",
    "message": "import sys; sys.exit('no such thing')",
    "error": "raise ValueError('nothing')",
    "interrupt": "raise KeyboardInterrupt",
    "streams": "import sys; print(sys.argv, sys.stdin is None); print('told', file=sys.stderr)",
    "place": "import os; print(os.getcwd(), os.environ['PLACE'])",
    "descriptors": "import os; print(sorted(os.listdir('/proc/self/fd')))",
    "full": "print('x', file=open('/dev/full', 'w'))",
    "exit": "import atexit; atexit.register(print, 'at the end')",
    "session": "import os; print(os.getsid(0) == os.getpid(), os.getppid())",
    "signals": "import signal; print(*map(signal.getsignal, (2, 10, 13, 15, 17)))",
    "input": "import sys; print(sys.stdin.read(), sys.stdout.encoding, sys.stdout.errors)",
}


CLOSED = [("streams", (0,)), ("input", (0,)), ("exit", (1, 2))]


@pytest.mark.parametrize(("name", "closed"), [*((name, ()) for name in PROGRAMS), *CLOSED])
def test_a_forked_program_does_what_any_other_does(
    name: str, closed: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result() -> list[object]:
        done = program.run(
            *["-c", PROGRAMS[name], "a", "b"],
            closed=closed,
            cwd=tmp_path,
            env={**os.environ, "PLACE": "here"},
            start_new_session=name == "session",
        )
        last = done.stderr.splitlines()[-1:]  # of a traceback
        return [done.returncode, done.stdout, last]

    forked = result()
    monkeypatch.setenv("REAL_PROCESSES", "yes")
    assert forked == result()
