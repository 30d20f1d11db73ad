"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class BeanstalktConfig(AppConfig):
    """Register the system checks when Django is set up."""

    name = "beanstalkt.django"
    label = "beanstalkt"
    verbose_name = "beanstalkt"

    def ready(self) -> None:
        """Register the system checks."""
        from django.core.checks import register

        from .checks import check_settings

        register(check_settings)
