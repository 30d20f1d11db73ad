"""Command handlers of one script each."""

from __future__ import annotations

import sys

from beanstalkt.worker.handlers.command.handler import CommandHandler


def shell(script: str) -> CommandHandler:
    return CommandHandler(["/bin/sh", "-c", script])


def python(script: str) -> CommandHandler:
    return CommandHandler([sys.executable, "-c", script])
