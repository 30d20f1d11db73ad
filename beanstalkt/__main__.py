"""Run the command line: ``python -m beanstalkt VERB``."""

from __future__ import annotations

import sys

from .cmd import main

if __name__ == "__main__":
    sys.exit(main())
