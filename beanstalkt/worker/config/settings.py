"""What the runner is told to do, once all sources have been read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..handlers.base import Handler
from ..policy.decision import Policy

EVERY_TUBE = "*"
"""In the place of a tube's name: all tubes that have no settings of their own. No tube's name
holds this letter."""


class ConfigError(Exception):
    """The configuration is wrong.

    :ivar problems: what is wrong, a line for each
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class TubeSettings:
    """One tube, its workers and its policy. Two that are equal run in the same way.

    :ivar handler: the class, and `values` what its ``from_options`` gets
    :ivar timeout: seconds; None: the ttr of each job
    :ivar kill_grace: seconds
    :ivar exclude: patterns of names that EVERY_TUBE leaves out
    """

    tube: str
    handler: type[Handler]
    values: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    timeout: float | None = None
    kill_grace: float = 5.0
    policy: Policy = field(default_factory=Policy)
    exclude: tuple[str, ...] = ()

    def make_handler(self) -> Handler:
        """A handler for the tube. Raises ValueError."""
        return self.handler.from_options(self.values, self.workers)

    def describe_policy(self) -> dict[str, object]:
        """For the log line at the start."""
        policy = self.policy
        backoff = policy.backoff
        fields: dict[str, object] = {
            "timeout": "ttr" if self.timeout is None else self.timeout,
            "kill_grace": self.kill_grace,
            "max_attempts": policy.max_attempts or "none",
            "on_timeout": str(policy.on_timeout),
            "on_temporary_fail": str(policy.on_temporary_fail),
            "on_permanent_fail": str(policy.on_permanent_fail),
            "on_unknown_fail": str(policy.on_unknown_fail),
        }
        fields.update((f"on_exit_{code}", str(action)) for code, action in policy.on_exit)
        fields["delay"] = backoff.delay
        if backoff.exponential:
            fields["backoff"] = "exponential"
            fields["max_delay"] = backoff.max_delay
        return fields


@dataclass(frozen=True)
class Settings:
    """All of it.

    :ivar server: URL
    :ivar run: the values of the options that the file does not have, such as ``burst``
    """

    server: str
    tubes: tuple[TubeSettings, ...]
    run: Mapping[str, Any] = field(default_factory=dict)
