"""What actions do, each by a function of `beanstalkt.admin` or a command of the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from .. import admin
from ..client.client import Client
from .action import Action

Run = Callable[[Client, Action, "Targets"], Awaitable[object]]
"""Carry an action out over a client of its server; fill in its summary."""


@dataclass(frozen=True)
class Targets:
    """What an action works on.

    :ivar selection: of the jobs
    :ivar to: a client of the server that jobs go to
    :ivar progress: to be told of the progress
    :ivar upload: the lines of an export that are to be imported
    """

    selection: admin.Selection
    to: Client
    progress: admin.OnProgress
    upload: IO[bytes] | None = None


@dataclass(frozen=True)
class Operation:
    """An operation that actions may name.

    :ivar on_jobs: whether it is about jobs, and so can be counted before
    :ivar options: the options that it takes
    :ivar uploads: whether it works on a file that is uploaded
    """

    run: Run
    on_jobs: bool = True
    options: frozenset[str] = frozenset()
    uploads: bool = False


def _on_jobs(function: Callable[..., Awaitable[object]]) -> Operation:
    """Return the operation of a function that takes a client and a selection."""

    async def run(client: Client, action: Action, targets: Targets) -> None:
        await function(client, targets.selection, **_common(action, targets))

    return Operation(run)


async def _move(client: Client, action: Action, targets: Targets) -> None:
    await admin.move(client, targets.selection, **_destination(action, targets))


async def _copy(client: Client, action: Action, targets: Targets) -> None:
    await admin.copy(client, targets.selection, **_destination(action, targets))


def _destination(action: Action, targets: Targets) -> dict[str, Any]:
    """Return the arguments that say where jobs go to."""
    tube = action.options.get("to_tube")
    if action.dry_run and tube is None:
        tube = _ELSEWHERE
    to = targets.to if "to_server" in action.options else None
    return {"to": to, "tube": tube, "on_error": "skip", **_common(action, targets)}


_ELSEWHERE = "beanstalkt.elsewhere"
"""Some other tube: jobs are counted before anybody has said where they are to go."""


async def _pause(client: Client, action: Action, targets: Targets) -> None:
    (tube,) = targets.selection.tubes
    seconds = action.options["seconds"] if action.verb == "pause" else 0
    await client.pause_tube(tube, seconds)
    action.summary.action = "paused" if seconds else "resumed"


async def _import(client: Client, action: Action, targets: Targets) -> None:
    assert targets.upload is not None
    await admin.import_jobs(
        client,
        targets.upload,
        on_error="skip",
        progress=targets.progress,
        summary=action.summary,
    )


def _common(action: Action, targets: Targets) -> dict[str, Any]:
    return {
        "dry_run": action.dry_run,
        "progress": targets.progress,
        "summary": action.summary,
    }


OPERATIONS: Mapping[str, Operation] = {
    "kick": _on_jobs(admin.kick),
    "bury": _on_jobs(admin.bury),
    "delete": _on_jobs(admin.delete),
    "clear": _on_jobs(admin.clear),
    "move": Operation(_move, options=frozenset({"to_tube", "to_server"})),
    "copy": Operation(_copy, options=frozenset({"to_tube", "to_server"})),
    "pause": Operation(_pause, on_jobs=False, options=frozenset({"seconds"})),
    "resume": Operation(_pause, on_jobs=False),
    "import": Operation(_import, on_jobs=False, uploads=True),
}
"""The operations, by the verb of an action."""
