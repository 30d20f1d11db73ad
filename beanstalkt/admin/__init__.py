"""What is done to many jobs, and what is seen of a whole server, for programs and command lines.

Nothing here prints: functions return results, and say how far they are by callbacks or by
asynchronous iteration.
"""

from __future__ import annotations

from .history import History, Point
from .sampler import Sampler, Subscription
from .snapshot import Badge, Head, Rates, ServerRates, Snapshot, TubeSample
from .tube_filter import TubeFilter

__all__ = [
    "Badge",
    "Head",
    "History",
    "Point",
    "Rates",
    "Sampler",
    "ServerRates",
    "Snapshot",
    "Subscription",
    "TubeFilter",
    "TubeSample",
]
