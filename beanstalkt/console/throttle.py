"""Slows down those who try passwords: each wrong one costs its address a longer wait."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 5
"""Wrong passwords of one address that cost nothing: people mistype."""

FREE_OF_ALL = 50
"""Wrong passwords of all addresses together that cost nothing."""

LONGEST = 60.0
"""Seconds that a wait grows to."""

FORGOTTEN_AFTER = 15 * 60.0
"""Seconds after the last wrong password until an address begins anew."""

MAX_ADDRESSES = 10_000
"""Addresses that are remembered at most; the one that was quiet longest is forgotten first."""


@dataclass
class _Wrong:
    """The wrong passwords of one address."""

    count: int = 0
    last: float = 0.0

    def wait(self, free: int, now: float) -> float:
        over = self.count - free
        if over < 0:
            return 0.0
        return max(self.last + min(2.0 ** min(over, 16), LONGEST) - now, 0.0)

    def add(self, now: float) -> None:
        self.count = 1 if now - self.last > FORGOTTEN_AFTER else self.count + 1
        self.last = now


class Throttle:
    """Decide whether a password may be tried now. Times are seconds on any steady clock."""

    def __init__(self) -> None:
        self._by_address: dict[str, _Wrong] = {}
        self._all = _Wrong()

    def wait(self, address: str, now: float) -> float:
        """Return the seconds until this address may try again; 0: at once."""
        wrong = self._by_address.get(address)
        own = wrong.wait(FREE, now) if wrong is not None else 0.0
        return max(own, self._all.wait(FREE_OF_ALL, now))

    def failed(self, address: str, now: float) -> None:
        """Note a wrong password."""
        # Put back at the end: the dict is in the order of the last failure.
        wrong = self._by_address.pop(address, None) or _Wrong()
        wrong.add(now)
        self._by_address[address] = wrong
        self._all.add(now)
        if len(self._by_address) > MAX_ADDRESSES:
            del self._by_address[next(iter(self._by_address))]

    def succeeded(self, address: str) -> None:
        """Forget the wrong passwords of an address that then had the right one."""
        self._by_address.pop(address, None)
        self._all.count = 0
