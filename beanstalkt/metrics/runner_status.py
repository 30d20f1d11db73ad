"""What a runner does at the moment, as JSON: for the console, which shows runners."""

from __future__ import annotations

import os
import socket
from typing import Any

from .runner_counts import RunnerCounts, TubeCounts

MOST_JOBS = 200
"""Jobs that are listed at most, the oldest first."""


def status_of(counts: RunnerCounts) -> dict[str, Any]:
    """Return the state of a runner, its tubes, and the jobs that run, without their bodies."""
    now = counts.clock()
    tubes = counts.tubes()
    running = [
        {
            "server": server,
            "tube": tube,
            "id": job.id,
            "slot": job.slot,
            "attempt": job.attempt,
            "seconds": round(now - job.started, 3),
            "overdue": job.overdue_at < now,
        }
        for (server, tube), each in tubes.items()
        for job in each.running.values()
    ]
    running.sort(key=lambda job: -float(str(job["seconds"])))
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_at": counts.started_at,
        "state": counts.stopping or ("paused" if counts.paused else "running"),
        "ready": counts.ready,
        "tubes": [
            {
                "server": server,
                "tube": tube,
                "handler": each.handler,
                "slots": each.slots,
                "busy": len(each.running) + _busy_elsewhere(tubes, tube, each),
                "reconnects": each.reconnects,
                "finished": [
                    {"outcome": outcome, "action": action, "jobs": number}
                    for (outcome, action), number in sorted(each.finished.items())
                ],
                "seconds": each.seconds.total,
            }
            for (server, tube), each in sorted(tubes.items())
        ],
        "running": running[:MOST_JOBS],
    }


def _busy_elsewhere(tubes: dict[tuple[str, str], TubeCounts], tube: str, each: TubeCounts) -> int:
    """Return how many of the slots that several servers share run a job of one of them."""
    if len(each.servers) < 2 or not each.slots:
        return 0
    return sum(len(tubes[name, tube].running) for name in each.servers if (name, tube) in tubes)
