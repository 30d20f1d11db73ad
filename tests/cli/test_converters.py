"""Text that the parser converts, and the messages about text that it cannot."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from beanstalkt.cli.converters import (
    number,
    port,
    positive_seconds,
    seconds,
    tube,
    url,
    whole_seconds,
)
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
        (seconds, "1m30s", 90.0),
        (positive_seconds, "200ms", 0.2),
        (whole_seconds(TIMEOUT), "1h30m", 5400),
        (whole_seconds(TIMEOUT), "2147483647", 2**31 - 1),
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
        (seconds, "-1", "'-1' is not a duration"),
        (seconds, "nan", "'nan' is not a duration"),
        (positive_seconds, "0", "it must be more than 0 seconds"),
        (positive_seconds, "0m", "it must be more than 0 seconds"),
        (positive_seconds, "x", "'x' is not a duration"),
        (whole_seconds(TIMEOUT), "1.5", "'1.5' is not a whole number of seconds"),
        (whole_seconds(TIMEOUT), "9999w", "timeout must be from 0 to 2147483647"),
        (whole_seconds(TIMEOUT), "1h 30m", "'1h 30m' is not a duration"),
    ],
)
def test_other_text_is_refused_with_the_reason(
    convert: Callable[[str], object], text: str, message: str
) -> None:
    # Of any other exception, argparse shows no message.
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        convert(text)
    assert str(caught.value).startswith(message)
