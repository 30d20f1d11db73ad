"""Readings of a server, without a server."""

from __future__ import annotations

from typing import Any, cast

from beanstalkt.admin.rates import Reading
from beanstalkt.protocol.stats import Stats, StatsTube


def stats_of(put: int = 0, deleted: int = 0, **counters: Any) -> Stats:
    """The statistics of a server; underscores in the names of counters stand for hyphens."""
    found = {"total-jobs": put, "cmd-delete": deleted, "id": "a", "current-workers": 1}
    return cast(Stats, {**found, **_keys(counters)})


def tube_of(put: int = 0, deleted: int = 0, **counters: Any) -> StatsTube:
    """The statistics of a tube, which one connection watches."""
    found = {"total-jobs": put, "cmd-delete": deleted, "current-watching": 1}
    return cast(StatsTube, {**found, **_keys(counters)})


def reading_of(
    clock: float,
    tubes: dict[str, StatsTube] | None = None,
    stats: Stats | None = None,
    **options: Any,
) -> Reading:
    tubes = tubes or {}
    options = {"tube_count": len(tubes), "watching": frozenset(), "using": "", **options}
    return Reading(1e9 + clock, clock, 0.0, stats or stats_of(), tubes, **options)


def _keys(counters: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in counters.items()}
