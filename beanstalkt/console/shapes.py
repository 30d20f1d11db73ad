"""What the page gets to see of snapshots, as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..admin import Point, Snapshot, TubeSample

SERVER_STATS = (
    *("current-jobs-urgent", "current-jobs-ready", "current-jobs-reserved"),
    *("current-jobs-delayed", "current-jobs-buried", "current-connections"),
    *("current-producers", "current-workers", "current-waiting", "job-timeouts", "total-jobs"),
    *("max-job-size", "uptime", "version", "hostname", "id", "binlog-current-index"),
)
"""The statistics of a server that the page shows."""

TUBE_COLUMNS = (
    *("ready", "urgent", "reserved", "delayed", "buried", "waiting", "watching", "using"),
    *("into", "out", "head_age", "drain", "paused_for", "total", "badges"),
)
"""What a row of a tube holds, in this order."""

Row = tuple[Any, ...]


def number(value: float | None) -> float | int | None:
    """Return a number as JSON can write it, not longer than one can see: NaN becomes None."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.4g}")


def tube_row(sample: TubeSample) -> Row:
    """Return the values of `TUBE_COLUMNS`."""
    rates, head = sample.rates, sample.head
    return (
        sample.ready,
        sample.urgent,
        sample.reserved,
        sample.delayed,
        sample.buried,
        sample.waiting,
        sample.watching,
        sample.using,
        number(rates.into) if rates else None,
        number(rates.out) if rates else None,
        head.age if head else None,
        number(sample.drain_seconds),
        sample.paused_for,
        sample.total,
        tuple(badge.value for badge in sample.badges),
    )


def server_summary(name: str, url: str, snapshot: Snapshot | None) -> dict[str, Any]:
    """Return what is shown of a server as a whole."""
    if snapshot is None:
        return {"name": name, "url": url, "up": None, "stats": {}, "badges": []}
    stats: Mapping[str, Any] = snapshot.stats
    rates = snapshot.rates
    return {
        "name": name,
        "url": url,
        "up": snapshot.up,
        "error": snapshot.error,
        "time": snapshot.time,
        "took": number(snapshot.took),
        "stats": {key: stats[key] for key in SERVER_STATS if key in stats},
        "draining": bool(stats.get("draining")),
        "tubes": snapshot.tube_count,
        "left_out": snapshot.left_out,
        "into": number(rates.into) if rates else None,
        "out": number(rates.out) if rates else None,
        "timeouts": number(rates.timeouts) if rates else None,
        "drain": number(snapshot.drain_seconds),
        "badges": [badge.value for badge in snapshot.badges],
        "restarted": snapshot.restarted,
    }


def tube_details(sample: TubeSample) -> dict[str, Any]:
    """Return all that is known of a tube."""
    return {
        **dict(zip(TUBE_COLUMNS, tube_row(sample), strict=True)),
        "stats": dict(sample.stats),
        "head": None
        if sample.head is None
        else {"id": sample.head.id, "age": sample.head.age, "timeouts": sample.head.timeouts},
    }


def columns(points: list[Point]) -> dict[str, list[float | int | None]]:
    """Return points as a list for each of their fields, as a chart wants them."""
    return {
        field: [
            round(value, 2) if field == "time" else number(value)
            for value in (getattr(point, field) for point in points)
        ]
        for field in Point._fields
    }
