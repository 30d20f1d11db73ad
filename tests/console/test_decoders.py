from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt.console.decoders import MAX_TEXT, hex_dump, preview, views, visible


def names(body: bytes) -> list[str]:
    return [view["name"] for view in views(body)]


def text(body: bytes, name: str) -> str:
    return next(view["text"] for view in views(body) if view["name"] == name)


JOB = {"to": "ann", "n": [1, 2.5, None, True]}
PACKED = json.dumps(JOB).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (PACKED, ["json", "text", "hex"]),
        (b"plain", ["text", "hex"]),
        (b"", ["text", "hex"]),
        (b"\xff\xfe", ["hex"]),
        (gzip.compress(PACKED, mtime=0), ["json in gzip", "text in gzip", "hex"]),
        (zlib.compress(PACKED), ["json in zlib", "text in zlib", "hex"]),
        (base64.b64encode(PACKED), ["json in base64", "text in base64", "text", "hex"]),
        (
            base64.b64encode(gzip.compress(PACKED, mtime=0)),
            ["json in gzip in base64", "text in gzip in base64", "text", "hex"],
        ),
        (msgpack.packb(JOB), ["msgpack", "hex"]),
        (b"7", ["text", "hex"]),
        (b"{broken", ["text", "hex"]),
    ],
)
def test_the_views_of_a_body_the_most_telling_first(body: bytes, expected: list[str]) -> None:
    assert names(body) == expected


def test_what_is_unpacked_is_what_was_packed() -> None:
    for body, name in (
        (PACKED, "json"),
        (base64.b64encode(gzip.compress(PACKED, mtime=0)), "json in gzip in base64"),
        (msgpack.packb(JOB), "msgpack"),
    ):
        assert json.loads(text(body, name)) == JOB


def test_msgpack_may_hold_what_json_cannot() -> None:
    body = msgpack.packb({1: b"\x00", "ext": msgpack.ExtType(5, b"x")})
    shown = json.loads(text(body, "msgpack"))
    assert shown["1"] == repr(b"\x00")


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"a" * 50_000_000),
        base64.b64encode(gzip.compress(b"[" * 10_000_000))[:65535],
        b"[" * 65_000,
        (b"[" * 900 + b"0," * 30_000 + b"0" + b"]" * 900),
        b'{"a":' * 13_000,
        msgpack.packb(list(range(60_000))),
        b"\x91" * 65_000,
        b"\xdd\xff\xff\xff\xff",
        b"1" * 65_000,
        b"[" + b"1" * 60_000 + b"]",
    ],
    ids=range(10),
)
def test_no_body_makes_a_view_grow_beyond_its_limit(body: bytes) -> None:
    for view in views(body):
        # Some characters are shown as several.
        assert len(view["text"]) <= 8 * MAX_TEXT


def test_what_a_screen_does_not_show_is_made_visible() -> None:
    assert visible("\x1b[31m\x00\x7f\r") == "␛[31m␀␡␍"
    assert visible("a\n\tb") == "a\n\tb"
    assert visible("\u202egnp.exe\u200b") == "⟨U+202E⟩gnp.exe⟨U+200B⟩"
    assert visible("\x9b") == "⟨U+009B⟩"


@given(st.binary(max_size=300))
def test_any_body_has_views_without_control_characters(body: bytes) -> None:
    found = views(body)
    assert found[-1]["name"] == "hex"
    for view in [*found, {"text": preview(body)}]:
        assert not any(ord(each) < 32 and each not in "\n\t" for each in view["text"])
        json.dumps(view).encode("utf-8")


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists)
)
def test_json_is_shown_as_the_same_value(value: Any) -> None:
    body = json.dumps({"value": value}).encode()
    shown = text(body, "json")
    if visible(shown) == shown and not set(shown) & set("⟨␀␡"):
        assert json.loads(shown) == {"value": value}


def test_a_preview_is_one_line_also_of_a_cut_off_character() -> None:
    assert preview(b"a\n  b\tc") == "a b c"
    assert preview("é".encode() * 40_000) == "é" * 200
    assert preview(b"\xff" * 1000).startswith("ff ff")


def test_a_hex_dump() -> None:
    assert hex_dump(b"GET \x00\xff") == f"00000000  {'47 45 54 20 00 ff':<47}  GET .."
    assert hex_dump(b"x" * 70_000).endswith("4464 more bytes")
