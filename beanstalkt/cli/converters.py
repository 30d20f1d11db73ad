"""Converters for the parser: text to a value, or a message that says what is wrong with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from ..errors import InvalidArgument
from ..protocol.address import Address
from ..protocol.arguments import JOB_ID, TUBE, Number, parse_whole
from ..protocol.durations import parse_duration, parse_whole_seconds
from ..protocol.servers import Server, check_name, names_one, parse_job_id

T = TypeVar("T")


def converter(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make a converter of a function that raises InvalidArgument."""

    @wraps(parse)
    def convert(text: str) -> T:
        try:
            return parse(text)
        except InvalidArgument as error:
            # argparse shows the message of this error, but not that of a ValueError.
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def number(kind: Number) -> Callable[[str], int]:
    """Make a converter to one of the protocol's numbers."""
    return converter(kind.parse)


@converter
def count(text: str) -> int:
    """Convert `text` to a number of things, 1 or more."""
    value = parse_whole(text)
    if value < 1:
        raise InvalidArgument("it must be 1 or more")
    return value


def whole_seconds(kind: Number) -> Callable[[str], int]:
    """Make a converter of a duration to one of the protocol's numbers of seconds."""
    return converter(lambda text: kind.check(parse_whole_seconds(text)))


@converter
def tube(text: str) -> str:
    """Return `text` if it is the name of a tube."""
    TUBE.check(text)
    return text


@converter
def url(text: str) -> str:
    """Return `text` if it is the URL of a server."""
    Address.parse(text)
    return text


@converter
def url_or_name(text: str) -> str:
    """Return `text` if it is the URL of a server, or can be the name of one."""
    if "://" in text:
        Address.parse(text)
    else:
        check_name(text)
    return text


@converter
def server_name(text: str) -> str:
    """Return `text` if a server can be called so."""
    check_name(text)
    return text


@converter
def server(text: str) -> str:
    """Return `text` if it is the URL of a server, or a name and its URL; without spaces."""
    found = Server.parse(text)
    if names_one(text):
        return str(found.address) if text.split() != [text] else text
    return str(found)


@converter
def job_id(text: str) -> int | str:
    """Return `text` as a number, or unchanged if it is the id of a job of several servers."""
    if "/" not in text:
        return JOB_ID.parse(text)
    parse_job_id(text)
    return text


@converter
def port(text: str) -> int:
    """Convert `text` to the TCP port of a server."""
    return Address(port=parse_whole(text)).port


@converter
def seconds(text: str) -> float:
    """Convert `text` to a duration in seconds, which may have a fraction."""
    return float(parse_duration(text))


@converter
def positive_seconds(text: str) -> float:
    """Convert `text` to a duration of more than 0 seconds, which may have a fraction."""
    value = float(parse_duration(text))
    if not value:
        raise InvalidArgument("it must be more than 0 seconds")
    return value
