"""The helpers of the tests: ports that stay free, and one place for what tests share."""

from __future__ import annotations

import ast
import socket
import sys
from pathlib import Path

import pytest

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
