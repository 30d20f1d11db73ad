"""Gives pages what has changed: each page names topics, and gets their news.

The topics are ``servers``, ``server/NAME``, ``tube/NAME/TUBE``, ``actions`` and ``runners``. The
news of a topic are made and encoded once, whatever the number of pages. A page that does not keep
up misses news, and gets the whole of the topic when it can take something again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from .watch import Watch

MAX_TOPICS = 10
"""Topics that one page may name."""

MAX_PAGES = 500
"""Pages that are told of news at the same time at most."""


class Listener(Protocol):
    """A page that is told of its topics."""

    topics: frozenset[str]

    def offer(self, topic: str, message: str) -> None:
        """Send a message, or note that the page needs the whole of the topic later."""


class Source(Protocol):
    """Something besides the servers that pages are told of."""

    def state(self) -> dict[str, Any]:
        """Return the whole of it."""


def encode(topic: str, data: dict[str, Any], *, full: bool) -> str:
    """Return the message for a topic."""
    return json.dumps({"topic": topic, "full": full, "data": data}, separators=(",", ":"))


class Hub:
    """Know who wants to be told of what.

    :param watches: the servers, by name
    :param sources: what else there is, by topic
    """

    def __init__(self, watches: Mapping[str, Watch], sources: Mapping[str, Source]) -> None:
        self._watches = watches
        self._sources = sources
        self._listeners: set[Listener] = set()

    def add(self, listener: Listener) -> bool:
        """Tell a page from now on; return False if there are too many already."""
        if len(self._listeners) >= MAX_PAGES:
            return False
        self._listeners.add(listener)
        return True

    def remove(self, listener: Listener) -> None:
        """Tell a page no more."""
        self._listeners.discard(listener)

    def wanted(self, topic: str) -> bool:
        """Return whether any page wants to be told of a topic."""
        return any(topic in listener.topics for listener in self._listeners)

    def whole(self, topic: str) -> dict[str, Any] | None:
        """Return the whole of a topic; None if there is no such topic."""
        if topic == "servers":
            return {"servers": [watch.summary() for watch in self._watches.values()]}
        source = self._sources.get(topic)
        if source is not None:
            return source.state()
        kind, _, rest = topic.partition("/")
        name, _, tube = rest.partition("/")
        watch = self._watches.get(name)
        if watch is None:
            return None
        if kind == "server" and not tube:
            return watch.all_tubes()
        return watch.tube(tube, history=True) if kind == "tube" and tube else None

    def sampled(self, watch: Watch) -> None:
        """Tell the pages of a server that it was looked at."""
        self._tell("servers", {"servers": [watch.summary()]})
        self._tell(f"server/{watch.name}", watch.changed_tubes)
        start = f"tube/{watch.name}/"
        for topic in {t for each in self._listeners for t in each.topics if t.startswith(start)}:
            self._tell(topic, watch.tube(topic.removeprefix(start), history=False))

    def changed(self, topic: str) -> None:
        """Tell the pages of a source that it has changed."""
        self._tell(topic, self._sources[topic].state, full=True)

    def _tell(self, topic: str, data: Any, *, full: bool = False) -> None:
        listeners = [each for each in self._listeners if topic in each.topics]
        if not listeners:
            return
        message = encode(topic, data() if callable(data) else data, full=full)
        for listener in listeners:
            listener.offer(topic, message)
