"""Find out when a burst is over: no job is ready, and no slot works that might add one."""

from __future__ import annotations

import asyncio
import contextlib


class Burst:
    """The end of a burst, for all slots of a runner. A slot may be any object.

    A slot is busy from the job that it found until it asks for the next one and finds none. It is
    quiet when it found none while no slot was busy, and no slot has found a job since. The burst
    is over when all slots are quiet; so a job that another job has put is not left behind.

    :param check_interval: seconds before a slot that found no job asks for one again, while
        other slots still work
    """

    def __init__(self, check_interval: float) -> None:
        #: set when the burst is over
        self.over = asyncio.Event()
        self._check_interval = check_interval
        self._slots: set[object] = set()
        self._busy: set[object] = set()
        self._quiet: set[object] = set()
        self._round = 0  # grows with every job found
        self._wake = asyncio.Event()  # replaced each time it was set

    def join(self, slot: object) -> None:
        """Add a slot, without which the burst is not over."""
        self._slots.add(slot)

    def leave(self, slot: object) -> None:
        """Remove a slot that takes no more jobs."""
        self._slots.discard(slot)
        self._quiet.discard(slot)
        self._set_idle(slot)
        self._check_over()

    def begin_check(self) -> int | None:
        """Return a mark of this moment, which `found_none` takes. Call it before each reserve."""
        return None if self._busy else self._round

    def found(self, slot: object) -> None:
        """Note that a slot has got a job."""
        self._round += 1
        self._quiet.clear()
        self._busy.add(slot)

    async def found_none(self, slot: object, mark: int | None) -> None:
        """Note that a slot has found no job; return when it should ask again, or at the end.

        :param mark: what `begin_check` returned before the slot asked for a job
        """
        if self._set_idle(slot):
            return
        if mark == self._round and not self._busy:
            self._quiet.add(slot)
            self._check_over()
        if not self.over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._check_interval)

    def _set_idle(self, slot: object) -> bool:
        """Note that a slot is not busy; return whether it was the last one that was."""
        if slot not in self._busy:
            return False
        self._busy.remove(slot)
        if not self._busy:
            self._wake_all()
        return not self._busy

    def _check_over(self) -> None:
        if self._quiet >= self._slots:
            self.over.set()
            self._wake_all()

    def _wake_all(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()
