"""Run the command line: ``python -m beanstalkt.cmd VERB``, also installed as ``beanstalkt``."""

from __future__ import annotations

import sys

from .cli.program import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
