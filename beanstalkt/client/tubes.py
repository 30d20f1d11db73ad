"""The tubes that a client uses and watches, as it asked and was granted."""

from __future__ import annotations

from ..protocol.arguments import DEFAULT_TUBE
from ..protocol.commands import IGNORE, USE, WATCH, Command
from .requests import Result, TubeRequest


class Tubes:
    """What every connection of one client is to use and watch."""

    def __init__(self) -> None:
        #: the tube that was last asked for with `use`, and granted
        self.using = DEFAULT_TUBE
        #: the tube in use when all that was sent has been done
        self.asked = DEFAULT_TUBE
        #: the tubes that reserves take from; a dict, for its order
        self.watching = {DEFAULT_TUBE: True}

    def use(self, name: str, result: Result, connected: bool) -> TubeRequest:
        """Return the request that has later puts, peeks and kicks go to this tube."""

        def granted() -> None:
            self.using = name

        def refused() -> None:
            if self.asked == name:
                self.asked = self.using

        payload = USE.encode(name)
        if connected:
            self.asked = name
        return TubeRequest(USE, payload, result, granted, refused)

    def watch(self, name: str, result: Result) -> TubeRequest:
        """Return the request that has reserves take from this tube too."""
        payload = WATCH.encode(name)
        return TubeRequest(WATCH, payload, result, lambda: self.watching.update({name: True}))

    def ignore(self, name: str, result: Result) -> TubeRequest:
        """Return the request that has reserves take from this tube no longer."""
        payload = IGNORE.encode(name)
        return TubeRequest(IGNORE, payload, result, lambda: self.watching.pop(name, None))

    def replay(self) -> list[tuple[Command, str]]:
        """Return the commands that make a fresh connection use and watch the same."""
        commands = [] if self.using == DEFAULT_TUBE else [(USE, self.using)]
        commands += [(WATCH, name) for name in self.watching if name != DEFAULT_TUBE]
        if DEFAULT_TUBE not in self.watching:
            commands.append((IGNORE, DEFAULT_TUBE))
        return commands
