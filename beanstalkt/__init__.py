"""An async beanstalkd client for Tornado and asyncio."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    BadFormat,
    BeanstalkException,
    Buried,
    CommandFailed,
    ConnectionLost,
    DeadlineSoon,
    Draining,
    ExpectedCrlf,
    InternalError,
    InvalidArgument,
    JobTooBig,
    NotFound,
    NotIgnored,
    OutOfMemory,
    ReservationLost,
    TimedOut,
    UnexpectedResponse,
    UnknownCommand,
)
from .job import DEFAULT_PRIORITY, DEFAULT_TTR, Job
from .protocol.stats import Stats, StatsJob, StatsTube

if TYPE_CHECKING:
    from .client.client import Client
    from .dispatch import SafeTask
    from .worker import Reject, Retry, Worker

__all__ = [
    "DEFAULT_PRIORITY",
    "DEFAULT_TTR",
    "BadFormat",
    "BeanstalkException",
    "Buried",
    "Client",
    "CommandFailed",
    "ConnectionLost",
    "DeadlineSoon",
    "Draining",
    "ExpectedCrlf",
    "InternalError",
    "InvalidArgument",
    "Job",
    "JobTooBig",
    "NotFound",
    "NotIgnored",
    "OutOfMemory",
    "Reject",
    "ReservationLost",
    "Retry",
    "SafeTask",
    "Stats",
    "StatsJob",
    "StatsTube",
    "TimedOut",
    "UnexpectedResponse",
    "UnknownCommand",
    "Worker",
]

# A program pays only for what it uses: neither for the worker where it only puts jobs, nor for
# Tornado where it uses the blocking client.
_LATE = {
    "Client": "client.client",
    "Reject": "worker",
    "Retry": "worker",
    "SafeTask": "dispatch",
    "Worker": "worker",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_LATE[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
