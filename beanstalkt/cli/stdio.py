"""The standard streams, even if they were closed at the start or cannot be written."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Open the null device in the place of each standard stream that was closed at the start.

    Otherwise the next socket would get the number of such a stream, and a child process would
    take it for its standard error. Python sets a closed stream to None, and prints to standard
    output what is meant for a standard error that is None; so standard error is replaced.
    Standard input and output stay None, because reading and printing must fail there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system assigns the lowest free number: this one
            os.set_inheritable(number, True)
    if sys.stderr is None:
        sys.stderr = null(2)


def null(number: int) -> TextIO:
    """Make a text stream for a descriptor that `open_closed` has opened."""
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def say(message: str, speaker: str = "beanstalkt") -> None:
    """Print a message to standard error. If that cannot be written, do nothing."""
    try:
        print(f"{speaker}: {message}", file=sys.stderr, flush=True)
    except OSError:
        discard_rest(sys.stderr)


def discard_rest(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to the null device.

    The interpreter flushes the stream once more when it exits, and must not fail on what is left
    in the buffer.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
