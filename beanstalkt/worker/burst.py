"""Knows when a burst is over: nothing is ready, and nobody works who might add to it."""

from __future__ import annotations

import asyncio
import contextlib

LOOK_AGAIN = 1.0
"""Seconds after which a slot that found nothing looks again, while others still work."""


class Burst:
    """Shared by all slots of a runner; a slot is any object.

    A slot is busy from the job that it found until it looks for the next and finds none. It is
    quiet when it looked while nobody was busy, and nobody has found a job since. When all are
    quiet, it is over: a job that was put by another job is not left behind.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._slots: set[object] = set()
        self._busy: set[object] = set()
        self._quiet: set[object] = set()
        self._round = 0  # grows with every job found
        self._wake = asyncio.Event()  # replaced when it was used

    def join(self, slot: object) -> None:
        """One more slot."""
        self._slots.add(slot)

    def leave(self, slot: object) -> None:
        """It looks no more."""
        self._slots.discard(slot)
        self._quiet.discard(slot)
        self._rest(slot)
        self._check()

    def look(self) -> int | None:
        """To be called before looking; what it gives goes to `nothing`."""
        return None if self._busy else self._round

    def found(self, slot: object) -> None:
        """It got a job."""
        self._round += 1
        self._quiet.clear()
        self._busy.add(slot)

    async def nothing(self, slot: object, looked: int | None) -> None:
        """It found none; comes back when it should look again, or when the burst is over."""
        if self._rest(slot):
            return
        if looked == self._round and not self._busy:
            self._quiet.add(slot)
            self._check()
        if not self.over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_AGAIN)

    def _rest(self, slot: object) -> bool:
        """It is no longer busy; whether it was the last one that was."""
        if slot not in self._busy:
            return False
        self._busy.remove(slot)
        if not self._busy:
            self._wake_all()
        return not self._busy

    def _check(self) -> None:
        if self._quiet >= self._slots:
            self.over.set()
            self._wake_all()

    def _wake_all(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()
