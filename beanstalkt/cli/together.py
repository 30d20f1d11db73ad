"""The snapshots of several servers as one, for tables and for `top`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..admin import Rates, Sampler, ServerRates, Snapshot, Subscription, TubeSample
from ..pool.totals import total

FIRST = 1.0
"""Seconds that the first snapshot waits for servers that have not answered."""


@dataclass(frozen=True, slots=True)
class ServerTube(TubeSample):
    """Hold what is known of a tube of one of several servers, or of all of them together.

    :ivar server: the name of the server; "" for all together
    :ivar head_server: the name of the server that has the next ready job
    """

    server: str = ""
    head_server: str = ""


@dataclass(frozen=True, slots=True)
class Together(Snapshot):
    """Hold what is known of several servers at one moment; `server` has the names of those up.

    :ivar away: why each server that is not up is not, by its name
    """

    away: Mapping[str, str] = field(default_factory=dict)


def together(
    snapshots: Mapping[str, Snapshot], *, sums: bool, missing: Iterable[str] = ()
) -> Together:
    """Combine the snapshots of several servers into one snapshot.

    :param snapshots: the last snapshot of each server, by the name of the server
    :param sums: whether the tubes of the same name are added up; if not, `tubes` has the tube of
        each server as ``SERVER/TUBE``
    :param missing: the names of servers of which there is no snapshot yet
    """
    up = {name: each for name, each in snapshots.items() if each.up}
    away = {name: each.error or "" for name, each in snapshots.items() if not each.up}
    away.update(dict.fromkeys(missing, "it has not answered yet"))
    tubes = [_of(name, tube) for name, each in up.items() for tube in each.tubes.values()]
    rows = {f"{tube.server}/{tube.name}": tube for tube in tubes}
    if sums:
        rows = {tube.name: tube for tube in _added_up(tubes)}
    count = sum(each.tube_count for each in up.values())
    stats: Any = total([each.stats for each in up.values()])
    return Together(
        server=", ".join(up or away),
        time=max((each.time for each in snapshots.values()), default=0.0),
        clock=max((each.clock for each in snapshots.values()), default=0.0),
        up=bool(up),
        error="; ".join(f"{name}: {why}" for name, why in away.items()) or None,
        took=max((each.took for each in snapshots.values()), default=0.0),
        stats=stats,
        tubes=rows,
        # Which of the tubes that the filter leaves out have the same name is not known.
        tube_count=max([len(rows), *(each.tube_count for each in up.values())]) if sums else count,
        left_out=sum(each.left_out for each in up.values()),
        rates=_server_rates([each.rates for each in up.values()]),
        badges=tuple(dict.fromkeys(badge for each in up.values() for badge in each.badges)),
        restarted=any(each.restarted for each in up.values()),
        away=away,
    )


def _of(name: str, tube: TubeSample) -> ServerTube:
    known = {each.name: getattr(tube, each.name) for each in fields(TubeSample)}
    return ServerTube(**known, server=name, head_server=name)


def _added_up(tubes: Iterable[ServerTube]) -> Iterable[ServerTube]:
    by_name: dict[str, list[ServerTube]] = {}
    for tube in tubes:
        by_name.setdefault(tube.name, []).append(tube)
    return map(_sum, by_name.values())


def _sum(tubes: list[ServerTube]) -> ServerTube:
    stats: Any = total([tube.stats for tube in tubes])
    rates = [tube.rates for tube in tubes if tube.rates is not None]
    oldest = max(tubes, key=lambda tube: -1 if tube.head is None else tube.head.age)
    return replace(
        oldest,
        server="",
        stats=stats,
        watching=sum(tube.watching for tube in tubes),
        using=sum(tube.using for tube in tubes),
        rates=_rates(rates) if rates else None,
        badges=tuple(dict.fromkeys(badge for tube in tubes for badge in tube.badges)),
    )


def _rates(rates: list[Rates]) -> Rates:
    return Rates(sum(each.into for each in rates), sum(each.out for each in rates))


def _server_rates(rates: list[ServerRates | None]) -> ServerRates | None:
    known = [each for each in rates if each is not None]
    if not known:
        return None
    return ServerRates(
        *(
            sum(getattr(each, name) for each in known)
            for name in ("into", "out", "reserves", "timeouts")
        )
    )


class SamplerGroup:
    """Take snapshots of several servers, and hand them on as one; used as a Sampler is.

    :param sums: whether the tubes of the same name are added up; may be changed at any time
    """

    def __init__(self, samplers: Mapping[str, Sampler], *, sums: bool) -> None:
        self.sums = sums
        self._samplers = samplers
        self._latest: dict[str, Snapshot] = {}

    @property
    def interval(self) -> float:
        """Seconds between two snapshots."""
        return next(iter(self._samplers.values())).interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        for sampler in self._samplers.values():
            sampler.interval = seconds

    def latest(self) -> Together:
        """Return the last snapshots of all servers as one."""
        found = {name: self._latest[name] for name in self._samplers if name in self._latest}
        missing = [name for name in self._samplers if name not in self._latest]
        return together(found, sums=self.sums, missing=missing)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Together]]:
        """Give what yields snapshots; a server that does not answer holds up no other one."""
        changed = asyncio.Event()
        async with AsyncExitStack() as stack:
            tasks: list[asyncio.Task[None]] = []
            for name, sampler in self._samplers.items():
                subscription = await stack.enter_async_context(sampler.subscribe())
                reading = self._read(name, subscription, changed)
                tasks.append(asyncio.get_running_loop().create_task(reading))
            try:
                async with aclosing(self._each(changed)) as snapshots:
                    yield snapshots
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, name: str, snapshots: Subscription, changed: asyncio.Event) -> None:
        async for snapshot in snapshots:
            self._latest[name] = snapshot
            changed.set()

    async def _each(self, changed: asyncio.Event) -> AsyncGenerator[Together, None]:
        loop = asyncio.get_running_loop()
        end = loop.time() + FIRST
        while len(self._latest) < len(self._samplers) and loop.time() < end:
            changed.clear()
            with suppress(asyncio.TimeoutError):  # before 3.11 not the built-in one
                await asyncio.wait_for(changed.wait(), max(end - loop.time(), 0))
        while True:
            if not self._latest:
                await changed.wait()
            changed.clear()
            yield self.latest()
            await asyncio.sleep(self.interval)  # so that those of one round come as one
            await changed.wait()
