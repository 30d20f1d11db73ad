"""Signals to process groups, and the names of signals."""

from __future__ import annotations

import contextlib
import os
import signal


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL``; for a real-time signal, its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, unless it is gone or belongs to another user.

    The caller must not have waited for the leader of the group without knowing that a member is
    left: otherwise the number may be another group's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_exists(group: int) -> bool:
    """Return whether a process group has a member. As long as it has, its number is not reused."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # its members run as another user
        return True
    return True
