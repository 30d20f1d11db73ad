"""The log of actions: who did what to which jobs, when, and with which result."""

from __future__ import annotations

import json
import logging
from collections import deque
from pathlib import Path
from typing import Any

log = logging.getLogger("beanstalkt.console.actions")

KEPT = 500
"""Entries that the page shows; the file has all of them."""


class ActionLog:
    """Keep the last entries, log each, and append it to a file where there is one.

    :param path: of the file, a line of JSON for each entry; None: there is no file

    Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None else Path(path).open("a", encoding="utf-8")  # noqa: SIM115
        self.entries: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry to those that are kept, to the log, and to the file."""
        self.entries.append(entry)
        # ASCII: a tube's name or a filter must not control a terminal.
        line = json.dumps(entry)
        log.info("%s", line)
        if self._file is not None:
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except OSError as error:
                # The action is done; that it is not in the file must be seen elsewhere.
                log.error("the log of actions cannot be written: %s", error)

    def close(self) -> None:
        """Close the file of the log, if there is one."""
        if self._file is not None:
            self._file.close()
