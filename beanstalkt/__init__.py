"""An async beanstalkd client for Tornado and asyncio.

``beanstalkt.worker``, ``beanstalkt.dispatch``, ``beanstalkt.admin`` and ``beanstalkt.server``, and
the names that come from them, are imported when they are first used: a program that only puts jobs
does not pay for the worker.
"""

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
    from . import admin as admin
    from . import blocking as blocking
    from . import dispatch as dispatch
    from . import server as server
    from . import worker as worker
    from .client.client import Client
    from .dispatch import SafeTask
    from .pool.job import PoolJob
    from .pool.pool import Pool
    from .worker import Reject, Retry, Worker, WorkerJob

    #: the version of the installed distribution; "0+unknown" in a checkout that is not installed
    __version__: str

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
    "Pool",
    "PoolJob",
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
    "WorkerJob",
]

# A program pays only for what it uses: neither for the worker where it only puts jobs, nor for
# Tornado where it uses the blocking client.
#: the names that are looked up when they are first used, and the module that each comes from
_LATE = {
    "Client": "client.client",
    "Pool": "pool.pool",
    "PoolJob": "pool.job",
    "Reject": "worker",
    "Retry": "worker",
    "SafeTask": "dispatch",
    "Worker": "worker",
    "WorkerJob": "worker",
}
#: the modules that are imported when they are first used
_LATE_MODULES = ("admin", "blocking", "client", "dispatch", "pool", "server", "worker")

if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> Any:
        """Return a name that is looked up late, and keep it."""
        if name in _LATE:
            value = getattr(import_module(f".{_LATE[name]}", __name__), name)
        elif name in _LATE_MODULES:
            value = import_module(f".{name}", __name__)
        elif name == "__version__":
            value = _version()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the names of the module, with those that are looked up late."""
    return sorted({*globals(), *_LATE, *_LATE_MODULES, "__version__"})


def _version() -> str:
    """Return the version in the metadata of the installed distribution."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        return "0+unknown"
