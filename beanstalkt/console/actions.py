"""Carries out actions: each is a task, with progress, that can be cancelled between two jobs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any

from ..admin import Progress, Selection
from ..errors import BeanstalkException, ConnectionLost
from .action import Action
from .action_log import ActionLog
from .operations import OPERATIONS, Targets
from .watch import Watch

log = logging.getLogger("beanstalkt.console")

MAX_RUNNING = 8
"""Actions that run at the same time at most."""

KEPT = 100
"""Actions that ended and are still shown."""

TELL_INTERVAL = 0.3
"""Seconds between two times that pages are told of progress."""


class TooMany(Exception):
    """As many actions run as may run at the same time."""


class Actions:
    """The actions of a console.

    :param watches: the servers, by name
    :param changed: is called when pages are to be told
    """

    def __init__(
        self, watches: Mapping[str, Watch], entries: ActionLog, changed: Callable[[], None]
    ) -> None:
        self._watches = watches
        self._log = entries
        self._changed = changed
        self._numbers = itertools.count(1)
        self._running: dict[int, tuple[Action, asyncio.Task[None]]] = {}
        self._ended: deque[Action] = deque(maxlen=KEPT)
        self._told = 0.0

    def state(self) -> dict[str, Any]:
        """Return what runs, and the log, the newest first."""
        return {
            "running": [
                action.as_dict() for action, _ in self._running.values() if not action.dry_run
            ],
            "log": list(reversed(self._log.entries)),
        }

    def find(self, number: int) -> Action | None:
        """Return the action with this number, if it is still known."""
        if number in self._running:
            return self._running[number][0]
        return next((action for action in self._ended if action.id == number), None)

    def start(
        self,
        verb: str,
        server: str,
        target: dict[str, Any],
        selection: Selection,
        options: dict[str, Any],
        *,
        who: str,
        dry_run: bool = False,
        upload: IO[bytes] | None = None,
    ) -> Action:
        """Begin an action. Raises TooMany.

        :param target: the filter, as the page gave it
        :param upload: the lines to import
        """
        if len(self._running) >= MAX_RUNNING:
            raise TooMany
        action = Action(next(self._numbers), verb, server, target, options, who, dry_run)
        task = asyncio.get_running_loop().create_task(self._run(action, selection, upload))
        self._running[action.id] = action, task
        task.add_done_callback(lambda _: self._end(action))
        self._changed()
        return action

    def cancel(self, number: int) -> bool:
        """End an action between two jobs; return whether it was running."""
        running = self._running.get(number)
        if running is None:
            return False
        running[1].cancel()
        return True

    def note(self, verb: str, server: str, target: dict[str, Any], who: str, result: str) -> None:
        """Add to the log something that was done at once."""
        now = time.time()
        action = Action(0, verb, server, target, {}, who, started=now, ended=now, state="done")
        action.summary.done = 1
        action.result = result
        self._log.add(action.as_entry())
        self._changed()

    async def close(self) -> None:
        """Cancel what runs, and wait for it."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._log.close()

    async def _run(self, action: Action, selection: Selection, upload: IO[bytes] | None) -> None:
        try:
            to = self._watches[action.options.get("to_server", action.server)]
            async with self._watches[action.server].client() as client, to.client() as other:
                targets = Targets(
                    selection, other, lambda progress: self._tell(action, progress), upload
                )
                await OPERATIONS[action.verb].run(client, action, targets)
            action.state = "done"
        except asyncio.CancelledError:
            action.state = "cancelled"
        except (BeanstalkException, OSError) as error:
            action.state = "failed"
            action.result = str(error)
            if isinstance(error, ConnectionLost) and error.sent:
                action.result += " (the last commands may have been carried out)"
        except Exception as error:
            log.exception("the action %s could not be carried out", action.verb)
            action.state = "failed"
            action.result = f"This is a defect of the console: {error!r}"
        finally:
            if upload is not None:
                upload.close()

    def _tell(self, action: Action, progress: Progress) -> None:
        action.progress = progress
        if time.monotonic() - self._told > TELL_INTERVAL:
            self._told = time.monotonic()
            self._changed()

    def _end(self, action: Action) -> None:
        action.ended = time.time()
        if action.state == "running":  # its task was cancelled before it began
            action.state = "cancelled"
        del self._running[action.id]
        self._ended.append(action)
        if not action.dry_run:
            self._log.add(action.as_entry())
        self._changed()
