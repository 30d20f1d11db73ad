"""Run the command line: ``python -m beanstalkt.cmd VERB``, also installed as ``beanstalkt``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .cli.exit_status import INTERRUPTED

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, **beyond: object) -> int:
    """Run the verb that `argv` names (default: the program's arguments); return its exit status.

    :param beyond: options of the verb that no argument stands for, from a program that runs it

    Raises SystemExit after ``-h`` and ``--version``, and for wrong usage, as argparse does.
    """
    try:
        # Here, so that an interrupt in this time, which is half of the start, is quiet as well.
        from .cli import program
    except KeyboardInterrupt:
        return INTERRUPTED
    return program.main(argv, **beyond)


if __name__ == "__main__":
    sys.exit(main())
