"""What the handlers of one console share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .actions import Actions
from .gate import Gate
from .hub import Hub
from .settings import Settings
from .watch import Watch


@dataclass(frozen=True)
class Context:
    """Hold what the handlers of one console share.

    :ivar settings: what the console was told when it was started
    :ivar gate: decides about each request, and knows the sessions
    :ivar cookie: the name of the cookie that holds a session's id
    :ivar watches: the servers, by name
    :ivar hub: tells pages what has changed
    :ivar actions: what is being done
    """

    settings: Settings
    gate: Gate
    cookie: str
    watches: Mapping[str, Watch]
    hub: Hub
    actions: Actions
