"""Timers that are descriptors, readable once their time is over, where the system has them."""

from __future__ import annotations

import os
import sys
import time

if sys.version_info >= (3, 13) and sys.platform == "linux":

    def create() -> int | None:
        """Return a new timer that is not set; None where the system has none."""
        try:
            return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
        except OSError:
            return None

    def start(fd: int, seconds: float) -> None:
        """Let the timer end after so many seconds, more than 0, and no more at another time."""
        os.timerfd_settime(fd, initial=seconds)

else:
    import ctypes

    class _Time(ctypes.Structure):
        _fields_ = (
            ("interval_seconds", ctypes.c_long),
            ("interval_nanoseconds", ctypes.c_long),
            ("seconds", ctypes.c_long),
            ("nanoseconds", ctypes.c_long),
        )

    _libc = None
    # Elsewhere the times are laid out in another way.
    if sys.platform == "linux" and ctypes.sizeof(ctypes.c_long) == 8:
        _libc = ctypes.CDLL(None)

    def create() -> int | None:
        """Return a new timer that is not set; None where the system has none."""
        if _libc is None or not hasattr(_libc, "timerfd_create"):
            return None
        fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        return None if fd < 0 else fd

    def start(fd: int, seconds: float) -> None:
        """Let the timer end after so many seconds, more than 0, and no more at another time."""
        whole = int(seconds)
        spec = _Time(0, 0, whole, int((seconds - whole) * 1e9))
        if _libc is None or _libc.timerfd_settime(fd, 0, ctypes.byref(spec), None):
            raise OSError("the timer cannot be set")
