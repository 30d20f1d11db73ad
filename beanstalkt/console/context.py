"""What the handlers of one console share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..admin import Snapshot
from .actions import Actions
from .gate import Gate
from .hub import Hub
from .settings import Settings
from .watch import Watch

Metrics = Callable[[Mapping[str, Snapshot | None]], str]
"""Makes text for Prometheus of the latest snapshot of each server, by its name."""


class History(Protocol):
    """The history of jobs in a database."""

    async def read(
        self, filters: Mapping[str, str | int | list[str]], before: int | None, limit: int
    ) -> dict[str, Any]:
        """Return ``rows`` that match the filters, and ``next`` for those that are older."""


@dataclass(frozen=True)
class Context:
    """Hold what the handlers of one console share.

    :ivar settings: what the console was told when it was started
    :ivar gate: decides about each request, and knows the sessions
    :ivar cookie: the name of the cookie that holds a session's id
    :ivar watches: the servers, by name
    :ivar hub: tells pages what has changed
    :ivar actions: what is being done
    :ivar metrics: makes text for Prometheus; None: there is none
    :ivar history: what became of jobs; None: there is none
    :ivar searches: the searches and exports that are running
    """

    settings: Settings
    gate: Gate
    cookie: str
    watches: Mapping[str, Watch]
    hub: Hub
    actions: Actions
    metrics: Metrics | None
    history: History | None
    searches: set[object] = field(default_factory=set)
