"""An async beanstalkd client for Tornado and asyncio."""

from __future__ import annotations

from .client import Client
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
from .job import Job
from .protocol import DEFAULT_PRIORITY, DEFAULT_TTR
from .stats import Stats, StatsJob, StatsTube

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
    "ReservationLost",
    "Stats",
    "StatsJob",
    "StatsTube",
    "TimedOut",
    "UnexpectedResponse",
    "UnknownCommand",
]
