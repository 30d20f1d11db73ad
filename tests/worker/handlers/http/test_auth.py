"""Credentials and the file they are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from beanstalkt.worker.handlers.base import CannotStart
from beanstalkt.worker.handlers.http.auth import MAX_SIZE, Auth


def test_the_kind_and_the_file() -> None:
    assert Auth.parse("basic:/etc/x") == Auth("basic", "/etc/x")
    assert Auth.parse("bearer:a:b") == Auth("bearer", "a:b")


@pytest.mark.parametrize("text", ["", "basic", "basic:", "digest:/x", "user:password", ":x"])
def test_nothing_else_is_taken(text: str) -> None:
    with pytest.raises(ValueError, match="basic:FILE"):
        Auth.parse(text)


GOOD = [
    ("basic", b"user:password", "Basic dXNlcjpwYXNzd29yZA=="),
    ("basic", b"user:password\n", "Basic dXNlcjpwYXNzd29yZA=="),
    ("basic", b"user:pass:word\r\n", "Basic dXNlcjpwYXNzOndvcmQ="),
    ("basic", "ü: ✓ ".encode(), "Basic w7w6IOKckyA="),
    ("basic", b":", "Basic Og=="),
    ("bearer", b"abc.def\n", "Bearer abc.def"),
]


@pytest.mark.parametrize(("kind", "content", "header"), GOOD)
def test_the_header(kind: str, content: bytes, header: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert Auth(kind, str(file)).header() == header


BAD = [
    ("basic", b""),
    ("basic", b"secret"),
    ("basic", b"user:secret\nX: y"),
    ("basic", b"user:secret\0"),
    ("basic", b"\xff:secret"),
    ("bearer", b""),
    ("bearer", b"two secrets"),
    ("bearer", b"secret\r\nX: y"),
    ("bearer", "secrét".encode()),
    ("bearer", b"secret" * MAX_SIZE),
]


@pytest.mark.parametrize(("kind", "content"), BAD)
def test_a_file_with_anything_else_is_told_without_its_content(
    kind: str, content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(CannotStart, match="file") as caught:
        Auth(kind, str(file)).header()
    assert "secr" not in str(caught.value).replace(str(file), "")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CannotStart, match="cannot read"):
            Auth("basic", str(path)).header()


def test_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    auth = Auth("bearer", str(file))
    for token in ("first", "second"):
        file.write_text(token)
        assert auth.header() == f"Bearer {token}"
