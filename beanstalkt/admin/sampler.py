"""The sampler: one task that looks at a server at intervals, for any number of subscribers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType

from ..client.client import Client
from ..client.timing import Timing
from ..errors import BeanstalkException, InvalidArgument
from ..protocol.address import Address
from .history import DEFAULT_LENGTH, History
from .rates import RATE_WINDOW, Progression, Reading
from .reading import read
from .snapshot import Snapshot
from .tube_filter import TubeFilter

log = logging.getLogger("beanstalkt")

CLOSE_TIMEOUT = 0.5
"""Seconds that the end of the last subscription waits for a server that does not answer."""

CONNECT_SHARE = 0.9
"""The part of the timeout after which the reason why there is no connection is told, instead of
that the server took too long."""


class Sampler:
    """Take a snapshot of a server at intervals, and hand each one to all subscribers.

    A task and a connection exist only while there is a subscription. When the server is gone, or
    does not answer in time, there is a snapshot all the same, whose `up` is False::

        sampler = Sampler("beanstalk://localhost", interval=1)
        async with sampler.subscribe() as snapshots:
            async for snapshot in snapshots:
                print(snapshot.rates, snapshot.tubes["default"].ready)

    :param server: a URL, or a client. A client is connected if need be, and not closed
    :param interval: seconds between two snapshots. Where asking takes more than half of that, the
        pause after it is as long as the asking, so that no server is asked all the time
    :param timeout: seconds after which a server that has not answered completely counts as not up
    :param tubes: which tubes to look at; None: all
    :param heads: the number of tubes at most whose next ready job is looked at, those with the
        most ready jobs first; each costs four more commands, and the transfer of a body
    :param history: the number of snapshots whose numbers are kept in `history`
    :param rate_window: seconds over which rates are measured; at least the time since the last
        snapshot

    Use one from a single event loop at a time. Raises InvalidArgument.
    """

    def __init__(
        self,
        server: str | Client,
        interval: float = 1.0,
        *,
        timeout: float = 3.0,
        tubes: TubeFilter | None = None,
        heads: int = 0,
        history: int = DEFAULT_LENGTH,
        rate_window: float = RATE_WINDOW,
    ) -> None:
        address = server.address if isinstance(server, Client) else Address.parse(server)
        #: the URL of the server
        self.server = str(address)
        #: seconds between two snapshots
        self.interval = _seconds("interval", interval)
        #: seconds that the server may take to answer
        self.timeout = _seconds("timeout", timeout)
        #: which tubes are looked at; may be replaced at any time
        self.tubes = tubes or TubeFilter()
        #: the number of tubes whose next ready job is looked at; may be changed at any time
        self.heads = _count("heads", heads)
        #: the numbers of the last snapshots
        self.history = History(history)
        #: the last snapshot; None before the first one
        self.latest: Snapshot | None = None
        #: the last snapshot in which the server was up; None before the first one
        self.latest_up: Snapshot | None = None
        self._own_client = server if isinstance(server, Client) else None
        self._progression = Progression(self.server, _seconds("rate_window", rate_window))
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None  # while anybody subscribes
        self._hurry: asyncio.Event | None = None  # to be set when a snapshot is wanted at once

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server}, {len(self._subscriptions)} subscribed>"

    def subscribe(self) -> Subscription:
        """Return a subscription: ``async with`` begins and ends it, ``async for`` reads it."""
        return Subscription(self)

    async def sample(self) -> Snapshot:
        """Return a snapshot that is taken now, or the one that is just being taken.

        It comes within `timeout` and a little more, whatever the server does. Without subscribers
        it is taken over a connection of its own; rates are since the snapshot before it.
        """
        async with Subscription(self, hurry=True) as snapshots:
            return await snapshots.__anext__()

    async def close(self) -> None:
        """End all subscriptions, and wait until nothing is left of them."""
        self._end_all()
        await self._stop()

    # --- for subscriptions ---

    def _add(self, subscription: Subscription, hurry: bool) -> None:
        self._subscriptions.add(subscription)
        if self._task is None:
            self._hurry = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(self._hurry))
        elif hurry and self._hurry is not None:
            self._hurry.set()
        elif self.latest is not None and self._is_fresh(self.latest):
            subscription._deliver(self.latest)

    async def _remove(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            await self._stop()

    def _end_all(self) -> None:
        for subscription in list(self._subscriptions):
            subscription._end()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _is_fresh(self, snapshot: Snapshot) -> bool:
        return time.monotonic() - snapshot.clock < self.interval

    # --- the task ---

    async def _run(self, hurry: asyncio.Event) -> None:
        """Take snapshots until the last subscription ends."""
        this = asyncio.current_task()
        try:
            async with self._connection() as client:
                # Until Python 3.11, wait_for() may swallow a cancellation.
                while self._task is this:
                    began = time.monotonic()
                    self._publish(await self._take(client))
                    hurry.clear()
                    took = time.monotonic() - began
                    pause = max(self.interval - took, min(took, self.timeout))
                    with suppress(asyncio.TimeoutError):  # before 3.11 not the built-in one
                        await asyncio.wait_for(hurry.wait(), pause)
        finally:
            if self._task is this:  # cancelled by somebody else, as a loop does at its end
                self._task = None
                self._end_all()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        if self._own_client is not None:
            yield self._own_client
            return
        client = Client.from_url(
            self.server,
            connect_timeout=CONNECT_SHARE * self.timeout,
            response_timeout=self.timeout,
            timing=Timing(close_timeout=CLOSE_TIMEOUT),
        )
        try:
            yield client
        finally:
            await client.close()

    async def _take(self, client: Client) -> Snapshot:
        began, now = time.monotonic(), time.time()
        try:
            reading = await asyncio.wait_for(self._read(client), self.timeout)
            return self._progression.up(reading)
        except asyncio.TimeoutError:  # and TimedOut, which no statistics raise
            error = f"{self.server} did not answer completely within {self.timeout:g} s"
        except (BeanstalkException, OSError) as lost:
            error = str(lost)
        except Exception as defect:  # subscribers must hear of it rather than wait for ever
            log.exception("a snapshot of %s could not be made", self.server)
            error = f"the statistics could not be read: {defect!r}"
        return self._progression.down(error, now, began, time.monotonic() - began)

    async def _read(self, client: Client) -> Reading:
        await self._connected(client)
        before = () if self.latest_up is None else self.latest_up.tubes
        return await read(client, self.tubes, self.heads, before)

    async def _connected(self, client: Client) -> None:
        """Wait for a connection, and raise ConnectionLost shortly before the time is over."""
        connecting = client.connect()
        try:
            if not (await asyncio.wait([connecting], timeout=CONNECT_SHARE * self.timeout))[0]:
                await client.stats()  # fails at once, and says why there is no connection
            else:
                connecting.result()
        finally:
            connecting.cancel()

    def _publish(self, snapshot: Snapshot) -> None:
        self.latest = snapshot
        if snapshot.up:
            self.latest_up = snapshot
        self.history.add(snapshot)
        for subscription in list(self._subscriptions):
            subscription._deliver(snapshot)


class Subscription:
    """Iterate over the snapshots of a sampler: ``async with`` first, then ``async for``.

    The first one is the latest, if that is not older than the interval. A subscriber that is
    slower than the sampler misses snapshots, and always gets the newest.
    """

    def __init__(self, sampler: Sampler, *, hurry: bool = False) -> None:
        self._sampler = sampler
        self._in_a_hurry = hurry
        self._next: Snapshot | None = None
        self._ended = False
        self._changed: asyncio.Event | None = None

    async def __aenter__(self) -> Subscription:
        self._changed = asyncio.Event()
        self._ended, self._next = False, None
        self._sampler._add(self, self._in_a_hurry)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        await self._sampler._remove(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Snapshot:
        """Return the next snapshot; raise StopAsyncIteration when the sampler was closed."""
        if self._changed is None:
            raise RuntimeError("a subscription begins with: async with sampler.subscribe() as ...")
        while True:
            if self._next is not None:
                snapshot, self._next = self._next, None
                self._changed.clear()
                return snapshot
            if self._ended:
                raise StopAsyncIteration
            await self._changed.wait()
            self._changed.clear()

    def _deliver(self, snapshot: Snapshot) -> None:
        self._next = snapshot
        if self._changed is not None:
            self._changed.set()

    def _end(self) -> None:
        self._ended = True
        if self._changed is not None:
            self._changed.set()


def _seconds(name: str, value: object) -> float:
    """Return `value`, a number of seconds; raise InvalidArgument unless finite and above 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise InvalidArgument(f"{name} must be a number of seconds above 0, not {value!r}")


def _count(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidArgument(f"{name} must be an int, 0 or more, not {value!r}")
