"""The results of the command line: JSON, ids and a progress bar."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO

from ..job import Job
from .stdio import discard_rest, say

if TYPE_CHECKING:
    from tqdm import tqdm


KEY_COLOUR, NO_COLOUR = "\x1b[36m", "\x1b[39m"
"""What turns the colour of keys (cyan) on and off; the rest keeps the colour of the terminal."""

# Formatted JSON has one key a line at most, at its beginning, and no line end within a str.
_KEY = re.compile(r'^( *)("(?:[^"\\]|\\.)*")(?=:)', re.MULTILINE)


def emit(text: str | None = None) -> None:
    """Print a result and flush it, so that a job is shown before anything is done to it.

    Without `text`, only flush. Raises BrokenPipeError if the reader has gone, and another OSError
    if standard output cannot be written.
    """
    if sys.stdout is None and text is None:  # it was closed when the program started
        return
    with _standard_output() as stream:
        if text is not None:
            try:
                print(text, file=stream)
            except UnicodeEncodeError as error:  # before anything was written
                shown = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
                print(shown, file=stream)


def emit_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are, and flush it. Raises what `emit` raises."""
    with _standard_output() as stream:
        stream.flush()  # what was printed before comes before
        stream.buffer.write(data)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Return standard output, and flush it at the end; have errors name it."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        discard_rest(sys.stdout)
        error.filename = "standard output"
        raise


def flush() -> None:
    """Flush what argparse or an imported module left in the buffers. Raises what `emit` raises."""
    try:
        sys.stderr.flush()
    except OSError:
        discard_rest(sys.stderr)
    emit()


def emit_json(value: Any, *, one_line: bool = False) -> None:
    """Print a result as JSON, with the keys in colour if a terminal shows it.

    :param one_line: print it on one line, without colours
    """
    text = as_json(value, None if one_line else 2)
    emit(coloured(text) if not one_line and shows_colours() else text)


def emit_ids(ids: list[int | None]) -> None:
    """Print the ids of the jobs that were put, one on each line; skip each None.

    Raises what `emit` raises. Whoever cannot read the ids is told that the jobs were put.
    """
    known = [str(job_id) for job_id in ids if job_id is not None]
    if not known:
        return
    try:
        emit("\n".join(known))
    except BrokenPipeError:
        raise
    except OSError:
        if len(known) == 1:
            say(f"job {known[0]} was put, but its id cannot be printed")
        else:
            span = f"{known[0]} to {known[-1]}"
            say(f"{len(known)} jobs were put, {span}, but their ids cannot be printed")
        raise


def as_json(value: Any, indent: int | None = 2) -> str:
    """Format a result as JSON of ASCII characters: a body must not control a terminal."""
    return json.dumps(value, indent=indent)


def is_dumb() -> bool:
    """Return whether TERM names no terminal that can do more than print lines."""
    return os.environ.get("TERM", "") in ("", "dumb")


def shows_colours() -> bool:
    """Return whether standard output is a terminal that is to show colours.

    NO_COLOR in the environment, with any text, means that it is not (no-color.org).
    """
    if os.environ.get("NO_COLOR") or is_dumb():
        return False
    return sys.stdout is not None and sys.stdout.isatty()


def coloured(text: str) -> str:
    """Colour the keys of JSON that `as_json` has formatted."""
    return _KEY.sub(f"\\1{KEY_COLOUR}\\2{NO_COLOUR}", text)


def readable(job: Job) -> dict[str, Any]:
    """Return a job with its body as text, or in base64 if the body is not UTF-8."""
    try:
        return {"body": job.body.decode(), "id": job.id}
    except UnicodeDecodeError:
        body = base64.b64encode(job.body).decode()
        return {"body": body, "encoding": "base64", "id": job.id}


def ranges(numbers: list[int], prefix: str = "") -> str:
    """Abbreviate rising numbers: 2, 3, 4 and 9 become ``"2-4, 9"``, or ``"a/2-4, a/9"``.

    :param prefix: what each is written after, such as ``"a/"``
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join(prefix + "-".join(map(str, span)) for span in spans)


def progress_bar(file: IO[bytes]) -> tqdm[NoReturn] | None:
    """Make a progress bar, in bytes, for reading `file`.

    Returns None if standard error is not a terminal, if `file` is one, or if tqdm (the extra
    ``cli``) is not installed.
    """
    if not sys.stderr.isatty() or file.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    size = os.fstat(file.fileno()).st_size or None  # the size of a pipe is unknown
    return tqdm(total=size, unit="B", unit_scale=True, file=sys.stderr)
