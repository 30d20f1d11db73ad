"""The arguments of commands: what is accepted, and what is refused before anything is sent."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanstalkt import errors
from beanstalkt.protocol.arguments import (
    MAX_NUMBER,
    TUBE_NAME,
    Number,
    TubeName,
    check_body,
    parse_whole,
)

tube_names = st.from_regex(TUBE_NAME, fullmatch=True)


class Whole(int):
    """An int of another type, as an enumeration is."""


@given(st.integers(0, MAX_NUMBER), st.sampled_from([int, Whole]))
def test_numbers_within_the_limit_pass(value: int, kind: type[int]) -> None:
    assert Number("delay", MAX_NUMBER).check(kind(value)) == value


@given(st.integers(max_value=-1) | st.integers(MAX_NUMBER + 1), st.sampled_from([int, Whole]))
def test_numbers_beyond_the_limit_are_refused(value: int, kind: type[int]) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"delay must be from 0 to {MAX_NUMBER}"):
        Number("delay", MAX_NUMBER).check(kind(value))


@pytest.mark.parametrize("value", [True, False, 1.0, "1", b"1", None, [1]])
def test_other_types_of_numbers_are_refused(value: object) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"an int, not {type(value).__name__}"):
        Number("delay", MAX_NUMBER).check(value)


@given(st.integers(0, MAX_NUMBER))
def test_a_number_is_read_from_its_digits(value: int) -> None:
    assert Number("delay", MAX_NUMBER).parse(str(value)) == value


@given(st.integers(max_value=-1) | st.integers(MAX_NUMBER + 1))
def test_the_digits_of_a_number_beyond_the_limit_are_refused(value: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"delay must be from 0 to {MAX_NUMBER}"):
        Number("delay", MAX_NUMBER).parse(str(value))
    assert parse_whole(str(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "-", "1.5", "x", "0x1", "1_0", "+1", " 1", "1\n", "٣", "²", "--1", "1e3", "9" * 5000],
)
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="is not a whole number"):
        Number("delay", MAX_NUMBER).parse(text)


@given(tube_names)
def test_good_tube_names_pass(name: str) -> None:
    assert TubeName().check(name) == name.encode()


@given(st.text(max_size=210).filter(lambda text: not TUBE_NAME.fullmatch(text)))
def test_other_tube_names_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        TubeName().check(name)


@pytest.mark.parametrize("name", ["a", "t" * 200, "a-", "+", ";.$_()/", "007", "null", "1.5"])
def test_tube_names_at_the_edge(name: str) -> None:
    assert TubeName().check(name) == name.encode()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"", b""),
        (b"a\r\nb\0", b"a\r\nb\0"),
        ("", b""),
        ("grüße", "grüße".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (memoryview(b"abcd")[::2], b"ac"),
        (array("B", [1, 2]), b"\1\2"),
    ],
)
def test_bodies_are_bytes_like_or_str(given: object, sent: bytes) -> None:
    body = check_body(given)
    assert type(body) is bytes
    assert body == sent


@pytest.mark.parametrize("body", [None, 5, 1.5, True, ["a"], {"a": 1}, object(), "\ud800"])
def test_other_bodies_are_refused(body: object) -> None:
    with pytest.raises(errors.InvalidArgument):
        check_body(body)


def test_a_body_that_is_changed_later_was_copied() -> None:
    given = bytearray(b"before")
    body = check_body(given)
    given[:] = b"after!"
    assert body == b"before"


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 201])
def test_a_bad_tube_name_is_told_with_the_rule(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^bad tube name '.*': use 1 to 200 of the"):
        TubeName().check(name)
