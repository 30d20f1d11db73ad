"""The statistics of several servers as those of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_OF_ONE = frozenset(
    {
        *("pid", "id", "hostname", "os", "platform", "uptime"),
        *("binlog-oldest-index", "binlog-current-index", "binlog-max-size"),
        # The same tube may be on each server.
        "current-tubes",
    }
)
"""Keys that mean something for one server only."""

_LEAST = frozenset({"max-job-size"})
"""Keys of which the least value holds for all."""

_GREATEST = frozenset({"pause", "pause-time-left"})
"""Keys of which the greatest value holds for all."""


def total(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of counters; of other values those on which all servers agree.

    What means something for one server only is left out.
    """
    keys = dict.fromkeys(key for stats in found for key in stats if key not in _OF_ONE)
    totals: dict[str, Any] = {}
    for key in keys:
        values = [stats[key] for stats in found if key in stats]
        if key in _LEAST:
            totals[key] = min(values)
        elif key in _GREATEST:
            totals[key] = max(values)
        elif all(
            isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
        ):
            totals[key] = sum(values)
        elif all(value == values[0] for value in values):
            totals[key] = values[0]
    return totals
