"""The intervals of a client: how long it waits, and for what."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import InvalidArgument

YEAR = 365 * 86_400.0
"""Seconds. A longer time means no limit: the timers of an event loop do not count that far."""

MOVEMENT = 1024
"""Bytes that must come or go within the time for a reply, so that it counts anew. A peer that
drips a byte now and then keeps no caller waiting for ever."""

DEADLINE_PAUSE = 0.25
"""Seconds that `jobs` waits after DEADLINE_SOON, which would come again at once."""


def check_connect_timeout(seconds: float | None) -> float | None:
    """Return the seconds that `connect` may take, None for no limit; raise InvalidArgument."""
    if seconds is None:
        return None
    if not _is_number(seconds) or not seconds >= 0:
        raise InvalidArgument(
            f"connect_timeout must be a number of seconds, 0 or more, or None, not {seconds!r}"
        )
    return None if seconds > YEAR else seconds


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Timing:
    """Hold the intervals of a client, in seconds. Raises InvalidArgument.

    An infinite interval means no limit.

    :ivar reconnect_delay: between two attempts to connect
    :ivar max_reconnect_delay: up to which that delay grows, doubling
    :ivar response_timeout: for the reply to the oldest request, while nothing of it moves
    :ivar attempt_timeout: for one attempt to connect, and once more to replay the tubes
    :ivar close_timeout: for the replies to what was written when the client is closed
    :ivar hold_warning: after which a warning says that a reserve holds up other commands
    :ivar held_check: after which the server is asked whether a connection still holds jobs
    :ivar warning_interval: between two warnings about a server that stays away
    :ivar late_reply: that a reply may be late while the loop was blocked
    :ivar catch_up: between two looks at a connection that waits for a reply
    :ivar pace: between two reads of the replies to put_many
    """

    reconnect_delay: float = 1.0
    max_reconnect_delay: float = 1.0
    response_timeout: float = 60.0
    attempt_timeout: float = 10.0
    close_timeout: float = 5.0
    hold_warning: float = 5.0
    held_check: float = 5.0
    warning_interval: float = 60.0
    late_reply: float = 1.0
    catch_up: float = 1.0
    pace: float = 0.001

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # Without a pause, a server that is away would be called without end.
            if not _is_number(value) or not value > 0:
                raise InvalidArgument(f"{name} must be a number of seconds above 0, not {value!r}")
        if self.reconnect_delay > YEAR:
            raise InvalidArgument(
                f"reconnect_delay must be at most {YEAR:.0f} seconds (a year), "
                f"not {self.reconnect_delay!r}: the client would never connect again"
            )
        if self.response_timeout > YEAR:
            object.__setattr__(self, "response_timeout", math.inf)
        if self.max_reconnect_delay > YEAR:
            object.__setattr__(self, "max_reconnect_delay", YEAR)

    def delays(self) -> Iterator[float]:
        """Yield the pauses between attempts, growing to the maximum, with a tenth of jitter."""
        delay = self.reconnect_delay
        while True:
            yield delay * random.uniform(0.9, 1.1)
            delay = max(delay, min(delay * 2, self.max_reconnect_delay))


def timing_of(
    timing: object,
    reconnect_delay: float,
    max_reconnect_delay: float | None,
    response_timeout: float,
) -> Timing:
    """Return the intervals of a client: those of `timing`, and its arguments in place of three.

    :param timing: a Timing; None: the usual intervals
    :param max_reconnect_delay: None: the delay does not grow

    Raises InvalidArgument.
    """
    if timing is None:
        timing = Timing()
    elif not isinstance(timing, Timing):
        raise InvalidArgument(
            f"timing must be None or a beanstalkt.client.timing.Timing, not {timing!r:.100}"
        )
    return replace(
        timing,
        reconnect_delay=reconnect_delay,
        max_reconnect_delay=(
            reconnect_delay if max_reconnect_delay is None else max_reconnect_delay
        ),
        response_timeout=response_timeout,
    )
