"""The settings of a runner, after all sources of the configuration were read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..handlers.base import Handler
from ..policy.decision import Policy

EVERY_TUBE = "*"
"""What stands in place of a name for all tubes without settings of their own. No tube's name
holds this character."""


class ConfigError(Exception):
    """Report what is wrong with the configuration.

    :ivar problems: a line for each
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class TubeSettings:
    """Hold the settings of one tube. Two tubes with equal settings are run in the same way.

    :ivar tube: its name, or EVERY_TUBE
    :ivar handler: the class of its handler
    :ivar values: what the handler's ``from_options`` gets
    :ivar workers: number of jobs that run at the same time
    :ivar timeout: seconds that a job may take; None: the ttr of each job
    :ivar kill_grace: seconds that a handler has to end after it was cancelled
    :ivar exclude: patterns of the names of tubes that EVERY_TUBE leaves out
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
        """Return a new handler for the tube. Raises ValueError."""
        return self.handler.from_options(self.values)

    def describe_policy(self) -> dict[str, object]:
        """Return the options that decide about a job, with their values, for the log."""
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
    """Hold the settings of a runner.

    :ivar server: URL; or a list of several servers, ``NAME=URL`` each
    :ivar run: values of the options that the file does not have, such as ``burst``
    :ivar server_place: what has named the server, such as a flag or a line of the file; "the
        default" if nothing has; empty if a program has
    """

    server: str
    tubes: tuple[TubeSettings, ...]
    run: Mapping[str, Any] = field(default_factory=dict)
    server_place: str = ""
