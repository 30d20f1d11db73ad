"""``manage.py beanstalkt_work``: run the functions and tasks of the project for their jobs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ... import runner
from ...configuration import configuration
from ...fresh_connections import close_all


class Command(BaseCommand):
    """Run the worker runner with the project's settings."""

    help = (
        "Reserve jobs, and run the functions of the dispatch table and the tasks of the project "
        "for them. Options beat variables such as BEANSTALKT_TIMEOUT, which beat the "
        "settings."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of the runner that go with functions."""
        parser.add_argument(
            "--tube",
            action="append",
            dest="tubes",
            metavar="NAME[:WORKERS]",
            help="a tube to reserve from; may be repeated (those of the settings)",
        )
        parser.add_argument(
            "--check", action="store_true", dest="only_check", help="check everything, and exit"
        )
        for option in runner.OPTIONS.values():
            # None for what was not given: the environment and the settings come next.
            if option.switch:
                parser.add_argument(
                    option.flag,
                    dest=option.name,
                    action="store_true",
                    default=None,
                    help=option.help,
                )
            else:
                parser.add_argument(
                    option.flag, dest=option.name, metavar=option.metavar, help=option.help
                )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run until the runner ends; exit with its status."""
        if not os.environ.get("DJANGO_SETTINGS_MODULE"):
            raise CommandError(
                "DJANGO_SETTINGS_MODULE is not set: child processes need it to load the apps."
            )
        # Not before: they import the tasks of the project.
        from ...table import TABLE, backends, tell_children, tubes

        if not TABLE:
            raise CommandError(
                "There is nothing to run: set BEANSTALKT['DISPATCH_TABLE'], or give a backend of "
                "TASKS the class beanstalkt.django.backend.BeanstalkdBackend."
            )
        chosen = configuration()
        found = _tubes(options["tubes"]) if options["tubes"] else tubes()
        if not found:
            raise CommandError("There is no tube to work on: set BEANSTALKT['TUBES'].")
        given = {name: options[name] for name in runner.OPTIONS if options.get(name) is not None}
        if backends():
            tell_children()
        connections.close_all()  # those that the system checks have opened: nothing here uses them
        status = runner.work(
            chosen.server,
            chosen.server_place,
            found,
            given,
            chosen.worker,
            bool(options["only_check"]),
        )
        close_all()
        if status:
            sys.exit(status)


def _tubes(words: list[str]) -> dict[str, int | None]:
    """Read ``NAME`` or ``NAME:WORKERS``; what is wrong with a name, the runner tells."""
    found: dict[str, int | None] = {}
    for word in words:
        name, colon, workers = word.partition(":")
        if colon and not (workers.isascii() and workers.isdigit()):
            raise CommandError(f"--tube: NAME or NAME:WORKERS is expected, not {word!r}.")
        found[name] = int(workers) if colon else None
    return found
