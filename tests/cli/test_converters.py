"""Text that the parser converts, and the messages about text that it cannot."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from beanstalkt.cli.converters import number, port, seconds, tube, url
from beanstalkt.protocol.arguments import TIMEOUT


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (number(TIMEOUT), "2147483647", 2**31 - 1),
        (tube, "mail", "mail"),
        (url, "unix:///run/a%20b", "unix:///run/a%20b"),
        (port, "65535", 65535),
        (seconds, "0.5", 0.5),
        (seconds, "0", 0.0),
    ],
)
def test_text_is_converted(convert: Callable[[str], object], text: str, value: object) -> None:
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text", "message"),
    [
        (number(TIMEOUT), "2147483648", "timeout must be from 0 to 2147483647"),
        (number(TIMEOUT), "x", "'x' is not a whole number"),
        (tube, "a b", "bad tube name 'a b'"),
        (url, "localhost", "bad URL 'localhost'"),
        (port, "0", "the port must be from 1 to 65535"),
        (port, "9" * 1000, "the port must be from 1 to 65535"),
        (port, "1.5", "'1.5' is not a whole number"),
        (seconds, "-1", "it must be 0 seconds or more"),
        (seconds, "nan", "it must be 0 seconds or more"),
    ],
)
def test_other_text_is_refused_with_the_reason(
    convert: Callable[[str], object], text: str, message: str
) -> None:
    # Of any other exception, argparse shows no message.
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        convert(text)
    assert str(caught.value).startswith(message)
