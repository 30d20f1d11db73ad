"""The question before many jobs are changed, and the options that answer it or change nothing."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from .input import Lines, read_some
from .stdio import say


def add_to(parser: ArgumentParser) -> None:
    """Add ``--yes`` and ``--dry-run`` to the parser of a verb that changes many jobs."""
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask before jobs are changed"
    )
    add_dry_run(parser)


def add_dry_run(parser: ArgumentParser) -> None:
    """Add ``--dry-run`` alone, to the parser of a verb that is carried out without a question."""
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="change nothing; count the jobs only"
    )


def check(parser: ArgumentParser, options: Namespace) -> None:
    """Refuse to change jobs without ``--yes`` where nobody can be asked."""
    if options.yes and options.dry_run:
        parser.error("--dry-run changes nothing, so there is nothing to say --yes to")
    if not (options.yes or options.dry_run or can_ask()):
        parser.error(
            f"{options.verb} would change many jobs, and there is no terminal to ask on: pass "
            "--yes to have it done, or --dry-run to see what would be done"
        )


def can_ask() -> bool:
    """Return whether a question can be shown and answered on a terminal."""
    # Standard output may be a file or a pipe: results go there, and no question.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def confirmed(question: str) -> bool:
    """Ask a question on the terminal; return whether the answer is yes.

    No answer, or the end of the input, is a no.
    """
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    lines = Lines()
    while chunk := await read_some(0):
        if answers := lines.feed(chunk):
            if answers[0].strip().lower() in (b"y", b"yes"):
                return True
            break
    else:
        print(file=sys.stderr)  # the end of the input leaves the cursor behind the question
    say("nothing was changed")
    return False
