"""The WebSocket that tells a page its news, and the same for pages that must ask."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .handlers import Api, Secure, refuse
from .hub import MAX_TOPICS, encode

if TYPE_CHECKING:
    from .context import Context

POLICY_VIOLATION = 1008
"""The code with which a page is told that its session is over (RFC 6455, section 7.4.1)."""


class StateHandler(Api):
    """Answer with the whole of some topics, for pages whose WebSocket does not get through."""

    def get(self) -> None:
        """Answer with a list of the messages that a WebSocket would bring."""
        topics = self.get_arguments("topic", strip=False)
        if len(topics) > MAX_TOPICS:
            refuse(f"At most {MAX_TOPICS} topics can be asked for.")
        messages = []
        for topic in topics:
            data = self.context.hub.whole(topic)
            if data is not None:
                messages.append({"topic": topic, "full": True, "data": data})
        self.json({"messages": messages})


class LiveHandler(Secure, WebSocketHandler):
    """Tell one page of its topics. The page names them as ``{"topics": [...]}``, at any time."""

    def initialize(self, context: Context) -> None:
        """Take what handlers share."""
        self._context = context
        self.topics: frozenset[str] = frozenset()
        self._sending: asyncio.Task[None] | None = None
        self._missed: set[str] = set()  # topics of which the page needs the whole

    def check_origin(self, origin: str) -> bool:
        """Allow it: the gate has compared the origin with the host already."""
        return True

    def open(self, *_: str, **__: str) -> None:
        """Begin to listen."""
        self.set_nodelay(True)
        if not self._context.hub.add(self):
            self.close(1013, "too many pages are open")

    def on_message(self, message: str | bytes) -> None:
        """Take the topics that the page is about, and send the whole of those that are new."""
        try:
            topics = json.loads(message)["topics"]
            if not all(isinstance(topic, str) for topic in topics) or len(topics) > MAX_TOPICS:
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError):
            self.close(1007, "topics are expected")
            return
        chosen = frozenset(topics)
        self._missed = (self._missed | (chosen - self.topics)) & chosen
        self.topics = chosen
        self._send_missed()

    def offer(self, topic: str, message: str) -> None:
        """Send a message, unless an earlier one is still on its way: then the page missed it."""
        if self._context.gate.session(self.request, time.monotonic()) is None:
            self.close(POLICY_VIOLATION, "the session is over")
        elif self._sending is not None:
            self._missed.add(topic)
        else:
            self._send([message])

    def on_close(self) -> None:
        """Stop listening."""
        self._context.hub.remove(self)
        self.topics = frozenset()
        if self._sending is not None:
            self._sending.cancel()

    def _send_missed(self) -> None:
        if self._sending is not None or not self._missed:
            return
        messages = []
        for topic in self._missed:
            data = self._context.hub.whole(topic)
            if data is not None:
                messages.append(encode(topic, data, full=True))
        self._missed.clear()
        self._send(messages)

    def _send(self, messages: list[str]) -> None:
        self._sending = asyncio.get_running_loop().create_task(self._write(messages))

    async def _write(self, messages: list[str]) -> None:
        try:
            for message in messages:
                await self.write_message(message)
        except (WebSocketClosedError, StreamClosedError):
            return
        finally:
            self._sending = None
        self._send_missed()
