"""What the handlers of one console share."""

from __future__ import annotations

from dataclasses import dataclass

from .gate import Gate
from .settings import Settings


@dataclass(frozen=True)
class Context:
    """Hold what the handlers of one console share.

    :ivar settings: what the console was told when it was started
    :ivar gate: decides about each request, and knows the sessions
    :ivar cookie: the name of the cookie that holds a session's id
    """

    settings: Settings
    gate: Gate
    cookie: str
