"""How much longer than usual the long tests run: ``make soak`` sets it."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("SOAK", "1"))
