"""The program: parse the command line, run its verb, and return the exit status.

Results go to standard output, everything else goes to standard error. `exit_status` lists the
statuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from .exit_status import INTERRUPTED, PIPE_CLOSED, REFUSED
from .output import flush
from .parser import parse
from .stdio import open_closed, say


def main(argv: Sequence[str] | None = None, **beyond: object) -> int:
    """Run the verb that `argv` names (default: the program's arguments); return its exit status.

    :param beyond: options of the verb that no argument stands for, from a program that runs it

    Raises SystemExit after ``-h`` and ``--version``, and for wrong usage, as argparse does.
    """
    open_closed()
    try:
        try:
            options = parse(argv)
            vars(options).update(beyond)
            status: int = options.run(options)
            return status
        finally:
            flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return REFUSED
