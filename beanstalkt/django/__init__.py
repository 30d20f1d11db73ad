"""beanstalkd for Django: ``"beanstalkt.django"`` in INSTALLED_APPS, and one setting, BEANSTALKT.

:func:`schedule_function` puts a job that calls a function of the dispatch table,
``beanstalkt.django.backend.BeanstalkdBackend`` is a backend for Django's tasks,
``manage.py beanstalkt_work`` runs both, and ``include("beanstalkt.django.urls")`` has a view that
calls functions of the dispatch table for requests. The settings are explained in
``beanstalkt.django.configuration``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .producer import schedule_function

__all__ = ["schedule_function"]

if not TYPE_CHECKING:  # to a type checker, any name would exist

    def __getattr__(name: str) -> object:
        # Django imports this package before its settings may be read.
        if name == "schedule_function":
            from .producer import schedule_function

            return schedule_function
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
