"""Operations on many jobs, and snapshots of whole servers, for programs and the command line.

Nothing here prints: functions return results, and say how far they are by callbacks or by
asynchronous iteration. What is done to many jobs takes a connected client, which should reserve
nothing meanwhile, and a selection of the jobs (:func:`select`). In place of the client, a dict of
clients by the names of their servers will do, such as `pool.clients`.
"""

from __future__ import annotations

from .burying import bury
from .deletion import clear, delete
from .exporting import export_jobs
from .history import History, Point
from .importing import import_jobs
from .kicking import kick, kick_all
from .listing import list_jobs, tail
from .moving import copy, move
from .pattern_search import PatternTooSlow
from .progress import OnProgress, Progress, Summary
from .record import JobRecord, State
from .sampler import Sampler, Subscription
from .scan import Scan
from .scans import Scans
from .selection import Selection, select
from .snapshot import Badge, Head, Rates, ServerRates, Snapshot, TubeSample
from .tailing import Tail
from .tails import Tails
from .tube_filter import TubeFilter

__all__ = [
    "Badge",
    "Head",
    "History",
    "JobRecord",
    "OnProgress",
    "PatternTooSlow",
    "Point",
    "Progress",
    "Rates",
    "Sampler",
    "Scan",
    "Scans",
    "Selection",
    "ServerRates",
    "Snapshot",
    "State",
    "Subscription",
    "Summary",
    "Tail",
    "Tails",
    "TubeFilter",
    "TubeSample",
    "bury",
    "clear",
    "copy",
    "delete",
    "export_jobs",
    "import_jobs",
    "kick",
    "kick_all",
    "list_jobs",
    "move",
    "select",
    "tail",
]
