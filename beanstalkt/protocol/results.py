"""The results of commands: what the words and the data of a successful reply stand for.

Each function takes the words of the reply's line and the data that followed it, and raises
ValueError if they are not what its commands expect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def nothing(words: list[bytes], data: bytes) -> None:
    """Check that the reply is a status alone, such as ``DELETED``."""
    if len(words) != 1:
        raise ValueError("the status is followed by more words")


def number(words: list[bytes], data: bytes) -> int:
    """Return the one number of a reply such as ``INSERTED 7``."""
    _, text = words
    if not text.isdigit():
        raise ValueError("the second word is not a number")
    return int(text)


def name(words: list[bytes], data: bytes) -> str:
    """Return the one name of a reply such as ``USING default``."""
    _, text = words
    return text.decode("ascii")


def job(words: list[bytes], data: bytes) -> tuple[int, bytes]:
    """Return the id and the body of a reply such as ``RESERVED 7 100``."""
    _, job_id, _ = words
    if not job_id.isdigit():
        raise ValueError("the second word is not a number")
    return int(job_id), data


def parsed(parse: Callable[[bytes], T]) -> Callable[[list[bytes], bytes], T]:
    """Make a function that returns what `parse` makes of the data of a reply such as ``OK 9``."""

    def read(words: list[bytes], data: bytes) -> T:
        if len(words) != 2:
            raise ValueError("the status is not followed by exactly one number")
        return parse(data)

    return read
