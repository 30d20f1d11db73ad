"""The standard streams of the command line, also where they are closed or cannot be written."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Open the null device in the place of each standard stream that was closed at the start.

    Otherwise the next socket would get its number, and be what a child takes for its standard
    error. Python has None for such a stream, and prints to standard output what is meant for a
    standard error that is None: so that one is replaced. Standard input and output stay None,
    since to read or to print there must be refused.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
            os.set_inheritable(number, True)
    if sys.stderr is None:
        sys.stderr = null(2)


def null(number: int) -> TextIO:
    """Make a text stream for a descriptor, one of those that `open_closed` has opened."""
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def emit(text: str | None = None) -> None:
    """Print a result, at once: what is done to a job comes only after it was shown.

    Raises BrokenPipeError, or another OSError, where it cannot be written.
    """
    if sys.stdout is None:  # closed before the program began
        if text is None:
            return
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    try:
        if text is not None:
            print(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        error.filename = "standard output"
        raise


def say(message: str, speaker: str = "beanstalkt") -> None:
    """Tell the user something that is no result. Where nobody can be told, nothing happens."""
    try:
        print(f"{speaker}: {message}", file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def flush() -> None:
    """Write what argparse or a module has left in the buffers. Raises what `emit` raises."""
    try:
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)
    emit()


def _give_up(stream: TextIO) -> None:
    # The interpreter flushes once more at its end: it must neither complain nor fail of the rest.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
