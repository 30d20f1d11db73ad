"""The client of a beanstalkd: what a program awaits, and what carries it to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Client"]


# Not at once: the blocking client shares the pipeline, and needs no Tornado.
if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> Any:
        if name != "Client":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .client import Client

        globals()["Client"] = Client
        return Client


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
