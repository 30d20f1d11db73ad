"""Jobs by INSERT, and a history of what became of them, in a SQL database.

A program inserts rows into the table ``queued_job``, in its own transactions: by plain SQL, or
with :func:`enqueue`, :func:`enqueue_many` and :func:`schedule_function`. The relay
(``beanstalkt outbox relay``) puts them into beanstalkd. ``work --history URL`` writes what became
of the jobs into the rows, and into the table ``queued_job_log``; :class:`History` does it for a
``Worker``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .history import History as History
    from .producers import enqueue as enqueue
    from .producers import enqueue_many as enqueue_many
    from .producers import schedule_function as schedule_function
    from .tables import metadata as metadata

# A producer on a DB-API connection does not need SQLAlchemy.
_LATE = {
    "History": "history",
    "enqueue": "producers",
    "enqueue_many": "producers",
    "metadata": "tables",
    "schedule_function": "producers",
}

__all__ = ["History", "enqueue", "enqueue_many", "metadata", "schedule_function"]

if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = import_module(f".{_LATE[name]}", __name__)
        except ModuleNotFoundError as error:
            if error.name != "sqlalchemy":
                raise
            raise ModuleNotFoundError(
                f"{__name__}.{name} needs SQLAlchemy: pip install 'beanstalkt[sql]', or "
                "[postgresql] or [mysql]",
                name=error.name,
            ) from error
        return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
