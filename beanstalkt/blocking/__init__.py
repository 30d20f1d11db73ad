"""The client for programs without an event loop: each call returns when the server has answered.

It keeps the promises of the asynchronous client, since the same pipeline stands behind both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .client import Client
from .job import Job

if TYPE_CHECKING:
    from .pool import Pool, PoolJob

__all__ = ["Client", "Job", "Pool", "PoolJob"]


# Not at once: a program that talks to one server does not pay for a pool.
if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> Any:
        if name not in ("Pool", "PoolJob"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(".pool", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
